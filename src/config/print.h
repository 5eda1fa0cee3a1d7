// SPDX-License-Identifier: MIT
// A configuration as it was understood, written so that it loads again and means the same.
#pragma once

#include "config/config.h"

// All files merged. What differs from its default stands plainly, each default as a comment beside
// it; secrets are the references they were. -ENOMEM.
int config_print(const Config *c, Buf *out) _must_use_;
