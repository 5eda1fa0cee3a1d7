// SPDX-License-Identifier: MIT
// What a program or an application writes: any bytes are a line or none. What
// is taken has a type that may be used, JSON as its data and a position that
// comes back from the store as it was.
#include "place.h"

#include "base/limits.h"
#include "event/schema.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_at(const EventLine *l, bool program) {
  char text[PLACE_TEXT_MAX];
  size_t at;
  assert(json_check(l->data, LIMIT_JSON_DEPTH, &at) == 0);
  assert(l->subject.len <= LIMIT_SUBJECT && l->key.len <= EVENT_LINE_ID_MAX);
  assert(l->type[0] ? event_type_is_own(slice_of(l->type))
                    : l->ready || l->position.data);
  assert(program || (l->type[0] && !l->ready && !l->position.data));
  Place there = {.index = 7}, back;
  place_move(&there, l->position);
  assert(place_parse(&back, slice_mem(text, place_text(&there, text))) == 0);
  assert(back.index == there.index &&
         strcmp(back.position, there.position) == 0);
  if (l->position.data)
    assert(slice_eq_str(l->position, back.position) && back.index == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static EventParser parser;
  if (!parser.texts.max)
    event_parser_init(&parser);
  for (int program = 0; program < 2; program++) {
    EventLine l;
    Reason reason = {0};
    if (event_line_parse(&parser, slice_mem(data, size), program, &l,
                         &reason) == 0)
      look_at(&l, program);
    else
      assert(reason.text[0]);
  }
  return 0;
}
