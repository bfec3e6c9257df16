# SPDX-License-Identifier: Apache-2.0
"""VIMA: pick and place poses from a prompt of words and pictures.

The registry does not list it: its actions are poses, not chunks of joint positions. Use `load` of
`groot_ros.families.vima.policy`.
"""
