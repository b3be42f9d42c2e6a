"""A stand-in for TensorRT 8.6.1, 10.3.0 and 11.4.0 and for the bindings of CUDA, since no Jetson is here.

``inventories/`` lists every class, member, method and enum value of the real Python packages. The stand-in has exactly
those: what a version lacks raises AttributeError, as on the device. Behind them it does for real what can be done for
real on a CPU: it parses the ONNX, takes tactics by "measuring" (at random, as a device nearly does) or from a timing
cache, writes a plan with the graph in it, and runs that plan with ONNX Runtime on host memory. It is strict where the
real thing ends the process or corrupts memory: CUDA before TensorRT, live buffers, live streams, a live parser; work on
a stream is done when the stream is synchronized, not before.

What it proves: the calls, flags and their order, the bundle, the gates. What it cannot: kernels, speed, memory.

In a test:       ``standin(monkeypatch, "10.3.0")`` (see ``tests/tensorrt_api/use.py``)
In a process:    ``PYTHONPATH=$(python -m tests.tensorrt_api.use 10.3.0)``, which is two folders: the version's, and the
                 common one. ``importlib.metadata.version("tensorrt")`` is right too.
Another device:  ``TENSORRT_STANDIN='{"dla_cores": 0, "compute_capability": "11.0", "fault": "out_of_memory"}'``;
                 the keys are those of ``Hardware`` in ``tensorrt_standin/hardware.py``.
"""
