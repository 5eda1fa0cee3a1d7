// SPDX-License-Identifier: MIT
// What a module program says when a person or the hub's --describe calls it. Private to src/module.
#pragma once

#include "module/module_main.h"

// Handles --describe, --check, --help, --version and wrong use; returns the exit status, or -EAGAIN when the
// command line is that of a child: one argument, the instance.
int module_usage(const ModuleProgram *p, const char *program, int argc, char **argv);
