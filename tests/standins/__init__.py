"""Google's services as far as our jobs talk to them, on this machine and in this process.

    with Proxy({"storage.googleapis.com": buckets, "www.googleapis.com": buckets}) as proxy:
        subprocess.run([...], env={**os.environ, **proxy.environ()})

They show which requests the real clients send and that these do what they should. They cannot show
permissions, quotas, or how a real bucket behaves under load. `docker.py` is a Docker daemon of the
tests' own, with a base image made of what is installed here.
"""
