#!/usr/bin/env bash
# The tests that need no renderer and no network: the unit tests, and the stories about reading, watching, ownership,
# checkpoints, the pool and the documents. Under a minute of run time on two cores. `cargo test` runs everything.
set -euo pipefail
cd "$(dirname "$0")/../.."
export CLM_TESTS_INSTALL=no

cargo test --quiet --lib
# Modules of the suite, without the stories in them that execute decks.
cargo test --quiet --test suite -- \
  check_spec:: checkpoint:: cpp:: doc_architecture:: doc_links:: hostile:: languages:: layering:: links:: new::nothing_is \
  new::what_cannot_be ownership:: pool:: properties:: watching:: \
  --skip checkpoint::what_comes_and_goes_during_a_build_is_not_missed \
  --skip ownership::a_diagram_of_the_author_in_img_generated_is_kept \
  --skip pool::real_tools_are_started_by_kind \
  --skip properties::the_decks_of_the_fixtures_are_read_and_written_as_jupytext_does \
  "$@"
