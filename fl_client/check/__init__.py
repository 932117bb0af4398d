# SPDX-License-Identifier: Apache-2.0
"""The data check: what of a contributor's records fits a task, told to their owner alone."""
