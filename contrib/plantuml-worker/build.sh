#!/bin/sh
# Compiles clm's PlantUML worker into src/worker/plantuml/worker.jar.
#
#   PLANTUML_JAR=plantuml.jar contrib/plantuml-worker/build.sh           rebuild the jar
#   PLANTUML_JAR=plantuml.jar contrib/plantuml-worker/build.sh --check   compile again and compare
#
# Needs a JDK, 17 or newer (users only need a runtime, 11 or newer), and any recent PlantUML jar to compile against.
set -eu
export LC_ALL=C

: "${PLANTUML_JAR:?set it to a PlantUML jar}"
PLANTUML_JAR=$(realpath "$PLANTUML_JAR")
package=$(realpath "$(dirname "$0")/../../src/worker/plantuml")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cd "$package/java"
mkdir "$work/classes"
javac --release 11 -Xlint:all,-path,-options -g:none -cp "$PLANTUML_JAR" -d "$work/classes" ./*.java
# The test suite compares these with the sources; the compiler's version tells whether equal bytes can be expected.
sha256sum -- *.java > "$work/classes/sources.sha256"
javac -version > "$work/classes/compiler.txt" 2>&1

cd "$work/classes"
if [ "${1:-}" = --check ]; then
    mkdir "$work/committed"
    (cd "$work/committed" && jar --extract --file "$package/worker.jar")
    if ! cmp -s compiler.txt "$work/committed/compiler.txt"; then
        echo "worker.jar was made by $(cat "$work/committed/compiler.txt"), not by $(cat compiler.txt): comparing sources only"
        cmp sources.sha256 "$work/committed/sources.sha256"
        exit 0
    fi
    diff -r . "$work/committed"
    echo "worker.jar is what the sources compile to"
else
    # Sorted names and a fixed date make the same bytes from the same classes.
    find . -type f | sort | sed 's,^\./,,' > "$work/names"
    jar --create --no-manifest --date=2000-01-01T00:00:00Z --file "$work/worker.jar" @"$work/names"
    mv "$work/worker.jar" "$package/worker.jar"
    ls -l "$package/worker.jar"
fi
