# SPDX-License-Identifier: Apache-2.0
"""Model families; only `registry` and `family` may be imported from outside this package."""
