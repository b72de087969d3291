"""The package that a training job installs: `trainer` and `codec` with all their files, nothing else.

Cloud tools install this file alone, before any other file is there: it names its packages by a
pattern and reads no file.
"""

from setuptools import find_packages, setup

SERVE = [  # for the prediction server, and for the serving image, which has no TensorFlow
    "onnxruntime>=1.20,<2",  # runs an exported network
    "uvicorn>=0.34,<1",  # the server
    "starlette>=0.46,<2",  # its routes
    "httptools>=0.6.4,<1",  # parses HTTP for it, with limits of ours: predictor/protocol.py
    "uvloop>=0.21,<1; sys_platform != 'win32'",  # its event loop, faster than Python's own
    "orjson>=3.10.12,<4",  # reads and writes JSON, NumPy's numbers too
]

setup(
    name="{{ cookiecutter.project_slug }}",
    version="0.1.0",
    description="{{ cookiecutter.project_name | quoted_inside }}",
    author="{{ cookiecutter.author | quoted_inside }}",
    packages=find_packages(include=["trainer", "trainer.*", "codec", "codec.*"]),
    # Every file below them, as in the image: tables, modules in folders without __init__.py, dot files.
    package_data={"": ["**", "**/.*", "**/.*/**"]},
    py_modules=[],  # with no trainer beside it, setuptools must not pick up stray modules
    python_requires=">=3.10,<3.14",
    # No lower bound is newer than what Colab ships; the tests of the template run on exactly these.
    install_requires=[
        "tensorflow>=2.20,<2.22",  # checkpoints and exported models pass between these two
        "keras>=3.12,<4",  # the models; Python 3.10 can have no newer one than 3.12
        "numpy>=2.1,<3",  # arrays of examples, checkpoints
        "tf2onnx>=1.17,<2",  # writes the network without TensorFlow, for servers
        "onnxruntime>=1.20,<2",  # checks that it answers as TensorFlow does
        "tensorboard>=2.20,<3",  # the training logs; TensorFlow writes them, this shows them
        "{{ {'image': 'pillow>=11.3,<14', 'series': 'pyarrow>=18,<26', 'tabular': 'pyarrow>=18,<26'}.get(cookiecutter.problem, 'numpy>=1.26') }}",  # reads the data{% if cookiecutter.problem == 'image' +%}
        "google-crc32c>=1.7.1,<2",  # checksums of records in shards; comes with google-cloud-storage, too{% endif +%}
    ],
    extras_require={
        "gpu": ["tensorflow[and-cuda]>=2.20,<2.22"],  # the CUDA libraries, on Linux
        "cloud": [
            "google-cloud-aiplatform>=1.60,<3",  # asks a private endpoint; the launcher itself goes without
            "google-cloud-storage>=2.18,<4",  # copies files to and from buckets
        ],
        "serve": SERVE,
        "dev": [
            *SERVE,  # scripts/serve.py and the tests
            "pyyaml>=6.0.2",  # project.yaml and the job files
            "rich>=13",  # tables and progress on the terminal
            "filelock>=3.16,<5",  # a run's directory is locked while the run is alive
            "jinja2>=3.1",  # the report of a run is a page with blanks
            "optuna>=5,<6",  # suggests what a tuning study on your own machine tries next
            "matplotlib>=3.10",  # the notebooks' figures
            "polars>=1.35",  # the notebooks' tables
            "ipykernel>=6.17",  # lets Jupyter and VS Code run the notebooks in this environment
            "nbclient>=0.10",  # runs the notebooks in the tests
            "nbformat>=5.10",  # reads the notebooks in the tests
            "pytest>=8",  # the tests
            "ruff>=0.9",  # linter and formatter
            "build>=1.2",  # packs the trainer for a cloud job
        ],
    },
)
