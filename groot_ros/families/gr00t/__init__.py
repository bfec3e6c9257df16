# SPDX-License-Identifier: Apache-2.0
"""Parts that the GR00T families share; it is not a family itself."""
