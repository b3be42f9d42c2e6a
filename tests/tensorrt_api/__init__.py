"""A stand-in for TensorRT 8.6.1, 10.3.0 and 11.4.0 and for the bindings of CUDA, for machines without a Jetson.

``inventories/`` lists every class, member, method and enum value of the real Python packages. The stand-in has exactly
those: a name that a version lacks raises AttributeError, as on the device. It implements what a CPU can do: it parses
the ONNX, chooses tactics at random (in place of measuring) or from a timing cache, writes a plan that contains the
graph, and runs the plan with ONNX Runtime on host memory. It raises where the real package crashes or corrupts memory:
TensorRT before CUDA, freed buffers, streams or parsers. Work on a stream is done when the stream is synchronized.

It verifies calls, flags and their order, the engine artifact, and the gates; not kernels, speed or memory.

In a test:       ``standin(monkeypatch, "10.3.0")`` (see ``tests/tensorrt_api/use.py``)
In a process:    ``PYTHONPATH=$(python -m tests.tensorrt_api.use 10.3.0)``: the folder of the version, and the common
                 one. ``importlib.metadata.version("tensorrt")`` is correct too.
Another device:  ``TENSORRT_STANDIN='{"dla_cores": 0, "compute_capability": "11.0", "fault": "out_of_memory"}'``;
                 the keys are those of ``Hardware`` in ``tensorrt_standin/hardware.py``.
"""
