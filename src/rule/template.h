// SPDX-License-Identifier: MIT
// Texts with holes, ${expression}. A JSON template keeps the type of a string that is one hole and
// escapes every other hole for the string it stands in, so that what it renders is always JSON.
#pragma once

#include "config/config.h"
#include "rule/escape.h"
#include "rule/evaluator.h"
#include "rule/unit.h"

typedef struct TemplatePart TemplatePart;

typedef struct Template {
        TemplatePart *parts; // in the unit's arena
        unsigned n, cap;
} Template;

// Both: 0, -EINVAL with the fault (json: ret_text is the string it is in; NULL for a fault of the
// whole), -ENOMEM. text must outlive the unit.
int template_text(Unit *u, Template *t, Slice text, Escape escape, Fault *fault) _must_use_;
int template_json(Unit *u, Template *t, const ConfigTemplate *source, Fault *fault,
        const ConfigText **ret_text) _must_use_;

// Adds the rendered text to out. Errors stick in out and in the evaluation.
void template_render(const Template *t, Evaluation *e, Buf *out);
