"""TensorRT engines ("plans") of the models: made from ONNX, proven, put into service and taken back."""
