// SPDX-License-Identifier: MIT
// Faults of expressions as diagnostics of the configuration.
#pragma once

#include "config/config.h"
#include "rule/fault.h"

// path: "rules[2].when". The message ends in two lines more: the text and a caret under the place.
void fault_diagnose(const Fault *f, const ConfigText *text, const char *path, Diagnostics *d);
