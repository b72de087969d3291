"""Shards: images in TFRecord files, written and checked without TensorFlow.

    DIR/manifest.json                    labels, sizes, counts, checksums; written last
    DIR/train-00000-of-00012.tfrecord    records in mixed order; eval and test likewise
    DIR/train.index.npy                  where each record lies, and its label
    DIR/rejected.csv                     files that were left out, and why
    DIR/copies.csv                       files with the same pixels as another

A record is a `tf.train.Example`: `image` (a PNG or JPEG file, or raw uint8), `label` (an index into
the manifest's labels) and `name` (the path of the file it was made from). `make.py` writes them,
`folder.py` checks them, `trainer/images/shards.py` reads them.
"""
