# SPDX-License-Identifier: Apache-2.0
"""Helpers of the tests, imported as `support.<module>`.

tiny_checkpoint, tiny_policy, tiny_engine, tiny_staged_model, random_models: models of a few
    thousand parameters
toy_program: a program with every kind of segment, without a model
reference_tokenizer, manifests: files of a checkpoint and of an engine directory
fake_tensorrt, fake_graph_recorder: TensorRT and CUDA graphs without a GPU
version_0_1: engine directories in the format of the first version
tensorrt_wheels, tensorrt_api, tensorrt_stubs: type check against the published bindings
control_bench, streaming: executor and controller without ROS
executor_stage, policy_stage, process_stage: nodes over DDS, in one or several processes
torch_threads: fixture that runs torch on one thread
broken_executor, slow_policy: scripts that tests start as node processes
import_graph: allowed imports between packages
"""
