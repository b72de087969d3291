"""EDIT THIS FILE: the flags of data and model."""

from trainer.engine.flags import positive, share, widths

DEFAULTS = {"epochs": 20, "batch_size": 32, "learning_rate": 0.01}
SOURCES, PLACES = ("data",), ()


def add_data_flags(parser):
    parser.add_argument("--data", metavar="FOLDER", help="SHAPE.npy files (default: data/)")


def add_model_flags(parser):
    parser.add_argument("--learning-rate", type=positive, metavar="X", help="of Adam")
    parser.add_argument("--hidden-units", type=widths, default="16", metavar="N,N,…", help="widths")
    parser.add_argument("--dropout", type=share, default=0.0, metavar="P", help="share left out")
