"""Children of serving.py, run in the baked repo: servers to compare with, and what loads them.

serving_ways.py bare MODEL         the predictor's batches behind httptools and uvloop, no framework
serving_ways.py tensorflow MODEL   each request alone, by TensorFlow
serving_ways.py load PORT FILE CONNECTIONS SECONDS RATE
serving_ways.py images             a 160×160 JPEG: decoded and resized by the codec, and in a graph
"""

import asyncio
import io
import json
import statistics
import sys
import time

del sys.path[0]  # this folder has a launcher.py of its own


class Connection(asyncio.Protocol):
    """HTTP as it has to be, and no more; `answer` takes a body and a function for the response."""

    def __init__(self, answer):
        import httptools

        self.answer, self.body = answer, b""
        self.parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.parser.feed_data(data)

    def on_body(self, body):
        self.body += body

    def on_message_complete(self):
        body, self.body = self.body, b""
        self.answer(body, self.respond) if body else self.respond(b"{}")

    def respond(self, body):
        self.transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
            % (len(body), body)
        )


async def serve(make):
    answer = make()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(answer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(f"listening on http://127.0.0.1:{port}", file=sys.stderr, flush=True)
    await server.serve_forever()


def make_bare(path):
    from predictor.batching import Batcher
    from predictor.metrics import ROWS, Histogram
    from predictor.model import Model

    model = Model(path)
    model.load()
    batcher = Batcher(model, Histogram(ROWS))

    def answer(body, respond):
        batcher.answer(body).add_done_callback(lambda future: respond(future.result().body))

    return answer


def make_tensorflow(path):
    import orjson
    import tensorflow as tf
    from predictor.model import Model, read_parameters

    model, loaded = Model(path), tf.saved_model.load(path)
    function, parameters = loaded.signatures["encoded"], read_parameters(None)

    def answer(body, respond):
        encoded = model.encode(orjson.loads(body)["instances"])
        tensors = {name: tf.constant(array) for name, array in encoded.inputs.items()}
        outputs = {name: value.numpy() for name, value in function(**tensors).items()}
        answers = model.word(outputs, parameters)
        respond(orjson.dumps({"predictions": answers}, option=orjson.OPT_SERIALIZE_NUMPY))

    answer.model = loaded  # its variables live only as long as it does
    return answer


def load(port, path, connections, seconds, rate):
    from launcher.local import load

    with open(path, "rb") as file:
        body = file.read()

    class Paced(load.Client):
        """Leaves time between its requests: all connections together send `rate` a second."""

        began = 0.0

        def send(self):
            wait = self.began + int(connections) / float(rate) - time.perf_counter()
            asyncio.get_running_loop().call_later(wait, super().send)

    if float(rate):  # 0: as many as are answered
        load.Client = Paced
    done = load.run(int(port), "/predict", body, int(connections), float(seconds))
    times = (done.quantile(0.5), done.quantile(0.99)) if done.latencies else (0, 0)
    count = len(done.latencies)
    print(json.dumps({"count": count, "rate": done.rate, "p50": times[0], "p99": times[1], "failures": done.failures}))  # fmt: skip


def images(count=30):
    """CPU in microseconds for an image of 160×160, which the model takes as 96×96."""
    import numpy as np
    import tensorflow as tf
    from codec import images as codec
    from PIL import Image
    from trainer import inputs

    noise = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize((160, 160)).save(file, "JPEG")
    data = file.getvalue()

    def by_codec():
        return np.asarray(codec.fit(codec.decode(data), 96, 3, "fit"))

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
    def by_graph(text):
        return inputs.resize(inputs.decode(text), 96, "fit")

    def by_pillow():  # what the codec cannot do without: no check, no orientation, no border
        image = Image.open(io.BytesIO(data), formats=["JPEG"])
        rows = image.resize((96, 160), Image.Resampling.BILINEAR)
        return np.asarray(rows.resize((96, 96), Image.Resampling.BILINEAR))

    assert (by_codec() == by_graph(data).numpy()).all() and (by_codec() == by_pillow()).all()
    ways = {"codec": by_codec, "graph": lambda: by_graph(data), "pillow": by_pillow}
    spent = {name: [] for name in ways}
    for _ in range(9):  # by turns
        for name, way in ways.items():
            begin = time.process_time()
            for _ in range(count):
                way()
            spent[name].append(1e6 * (time.process_time() - begin) / count)
    spent = {name: statistics.median(times) for name, times in spent.items()}
    print(json.dumps(spent))


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    if what in ("bare", "tensorflow"):
        import uvloop

        make = {"bare": make_bare, "tensorflow": make_tensorflow}[what]
        uvloop.run(serve(lambda: make(*arguments)))
    else:
        {"load": load, "images": images}[what](*arguments)
