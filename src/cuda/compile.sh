#!/bin/sh
# Runs nvcc and keeps what ptxas says of registers, stack and spills.
# usage: compile.sh REPORT nvcc ARGUMENT…
set -eu
report=$1
shift
"$@" -Xptxas -v 2>"$report" || {
  cat "$report" >&2
  exit 1
}
