// SPDX-License-Identifier: MIT
// Names of value types for messages.
#include "rule/value.h"

static const char *const type_words[_VALUE_TYPE_MAX] = {
        [VALUE_MISSING] = "nothing",
        [VALUE_NULL] = "null",
        [VALUE_BOOL] = "true or false",
        [VALUE_NUMBER] = "a number",
        [VALUE_STRING] = "a string",
        [VALUE_TIME] = "a time",
        [VALUE_DURATION] = "a duration",
        [VALUE_LIST] = "a list",
        [VALUE_OBJECT] = "an object",
};

const char *type_mask_words(TypeMask mask, char out[static TYPE_WORDS_MAX])
{
        size_t n = 0;
        out[0] = '\0';
        if ((mask & MASK_ANY) == MASK_ANY)
                return "any value";
        for (unsigned t = 0; t < _VALUE_TYPE_MAX; t++)
                if ((mask & MASK(t)) && n < TYPE_WORDS_MAX)
                        n += (size_t)snprintf(out + n, TYPE_WORDS_MAX - n, "%s%s", n ? " or " : "",
                                type_words[t]);
        return out;
}
