#!/usr/bin/env bash
# Looks at the outputs of the demo course: contrib/ci/check-demo.sh COURSE_ROOT
set -euo pipefail
output=$1/output
fail() { echo "check-demo: $*" >&2; exit 1; }

count=$(find "$output" -type f | wc -l)
[ "$count" -ge 650 ] || fail "only $count outputs"

page="$output/trainer/measurement-to-model-en/Slides/Html/Completed/Seeing Data/01 Measurements.html"
grep -q 'measurements: 8' "$page" || fail "the data file was not read"
grep -q 'data:image/png;base64' "$page" || fail "the plot is missing"
grep -q 'Messungen:' "$page" && fail "German text on an English page"
grep -q 'bar{x}' "$output/shared/measurement-to-model-de/Folien/Html/Completed/Daten sehen/02 Verteilungen.html" || fail "the formula is missing"

images="$output/shared/measurement-to-model-de/Folien/Html/Completed"
for image in "Daten sehen/img/chain" "Daten sehen/img/sampling" "Daten sehen/img/sensor" "Modelle bauen/img/model" \
  "Modelle bauen/img/spring" "Modelle bauen/img/residual" "Modelle bauen/img/judgement" "Modelle bauen/img/map" "Modelle bauen/img/plan"; do
  file="$images/$image.png"
  [ "$(head -c 8 "$file" | od -An -tx1 | tr -d ' \n')" = 89504e470d0a1a0a ] || fail "$image is no PNG"
  [ "$(wc -c < "$file")" -gt 2000 ] || fail "$image is nearly empty"
done
[ -f "$output/shared/measurement-to-model-en/Code/solutions/fit.py" ] || fail "the dir-group is missing"
find "$output" -name '.clm-*' ! -name .clm-manifest.json | grep -q . && fail "unfinished files were left"
echo "check-demo: $count outputs, all as expected"
