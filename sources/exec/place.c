// SPDX-License-Identifier: MIT
// See place.h. The stored form is "1 INDEX POSITION": a version, a number, the rest as it is.
#include "place.h"

#include "base/text.h"

#include <errno.h>

size_t place_text(const Place *p, char out[static PLACE_TEXT_MAX])
{
        return (size_t)snprintf(
                out, PLACE_TEXT_MAX, "1 %llu %s", (unsigned long long)p->index, p->position);
}

int place_parse(Place *p, Slice text)
{
        Place made = {.index = 0};
        size_t at = 2, digits = 0;

        if (!slice_starts(text, SLICE_LIT("1 ")))
                return -EINVAL;
        for (; at < text.len && text.data[at] >= '0' && text.data[at] <= '9'; at++, digits++)
                made.index = made.index * 10 + (uint64_t)(text.data[at] - '0');
        if (digits == 0 || digits > 18 || at >= text.len || text.data[at] != ' ')
                return -EINVAL;
        Slice position = {text.data + at + 1, text.len - at - 1};
        if (position.len > EVENT_LINE_POSITION_MAX || !text_utf8_valid(position) ||
                memchr(position.data, 0, position.len))
                return -EINVAL;
        memcpy(made.position, position.data, position.len);
        *p = made;
        return 0;
}

Slice place_name(const Place *p, char out[static PLACE_ID_MAX])
{
        int n = snprintf(out, PLACE_ID_MAX, "p:%llu:%s", (unsigned long long)p->index, p->position);
        return slice_mem(out, (size_t)n);
}

void place_move(Place *p, Slice position)
{
        if (!position.data || slice_eq_str(position, p->position))
                return;
        memcpy(p->position, position.data, position.len);
        p->position[position.len] = 0;
        p->index = 0;
}
