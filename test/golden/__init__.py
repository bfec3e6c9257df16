# SPDX-License-Identifier: Apache-2.0
"""Read golden sets and compare this package with them; one module per format."""
