"""A network in onnxruntime: the export checks the very session that predictions use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnxruntime


def open_session(network: Path | bytes) -> onnxruntime.InferenceSession:
    """Load a file of ONNX, or its content, on the CPU: one thread a call, since a server makes many.

    Raises:
        Exception: it cannot be loaded; onnxruntime's classes have no base of their own.
    """
    # From 1.29 on it reports to Microsoft, and leaves files in the home and temporary folders, unless it
    # finds this when it is imported; on Windows the call below is needed, too.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised
    return onnxruntime.InferenceSession(network, options, ["CPUExecutionProvider"])
