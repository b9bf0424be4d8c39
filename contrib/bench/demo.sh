#!/usr/bin/env bash
# Times the demo course: a cold build, a build with an empty output directory and a filled cache, one without work,
# and edits. With CLM (the Python tool) given, the same with it, in the same run.
#
#   contrib/bench/demo.sh CLM_BINARY [PYTHON_CLM PLANTUML_JAR DRAWIO_STUB]
#
# PYTHON_CLM is the `clm` of an environment with coding-academy-lecture-manager 1.35.0 and what the demo's decks import;
# DRAWIO_STUB is a program that stands for draw.io desktop: it writes some picture to the file after --output.
# Prints seconds; the medians are of three runs. Machines differ: compare figures of one run only.
set -euo pipefail
clm=$(realpath "$1")
demo=$(realpath "$(dirname "$0")/../../fixtures/demo")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

deck=slides/module_010_seeing_data/topic_020_distributions/slides_distributions.py
diagram=slides/module_010_seeing_data/topic_020_distributions/pu/sampling.pu

fresh_copy() {
  rm -rf "$1"
  cp -r "$demo" "$1"
  rm -rf "$1/output" "$1/.clm"
  find "$1" -name img-generated -prune -exec rm -rf {} +
}

# seconds COMMAND...: how long it took; its output goes to a log
seconds() {
  local start end
  start=$(date +%s.%N)
  "$@" > "$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; echo "failed: $*" >&2; exit 1; }
  end=$(date +%s.%N)
  echo "$end $start" | awk '{ printf "%.3f\n", $1 - $2 }'
}

median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

ours() { (cd "$work/ours" && "$clm" build course.xml); }

echo "clm $("$clm" --version)"
echo "cold:         $(for _ in 1 2 3; do fresh_copy "$work/ours"; seconds ours; done | median)"
echo "no work:      $(for _ in 1 2 3 4 5; do seconds ours; done | median)"
echo "restore:      $(for _ in 1 2 3; do rm -rf "$work/ours/output"; seconds ours; done | median)"
edits() { # what, file, sed program
  for run in 1 2 3; do sed -i "${2//RUN/$run}" "$work/ours/$1"; seconds ours; done | median
}
echo "prose edit:   $(edits "$deck" 's/## Many Samples.*/## Many Samples RUN/')"
echo "code edit:    $(edits "$deck" 's/size=([0-9]*, 6)/size=(200RUN, 6)/')"
echo "diagram edit: $(edits "$diagram" 's/its bin.*/its bin RUN/')"

[ $# -ge 4 ] || exit 0
python_clm=$2
export PLANTUML_JAR=$3 DRAWIO_EXECUTABLE=$4
theirs() {
  (cd "$work/theirs" && "$python_clm" --cache-db-path "$work/theirs.cache" --jobs-db-path "$work/theirs.jobs" \
    build specs/course.xml -d "$work/theirs" -o "$work/theirs.out" --no-progress --no-color)
}
fresh_copy "$work/theirs"
# CLM renders a copy of the diagram elsewhere, where the file that it includes is not: give it the text.
sed -i -e "/^!include/{r $work/theirs/${diagram%/*}/style.iuml
d}" "$work/theirs/$diagram"
mkdir "$work/theirs/specs"
mv "$work/theirs/course.xml" "$work/theirs/specs/"
echo "CLM $("$python_clm" --version 2>&1 | tail -n 1)"
echo "cold:         $(seconds theirs) (one run)"
echo "no work:      $(for _ in 1 2 3; do seconds theirs; done | median)"
sed -i 's/## Many Samples.*/## Many Samples 9/' "$work/theirs/$deck"
echo "prose edit:   $(seconds theirs) (one run)"
