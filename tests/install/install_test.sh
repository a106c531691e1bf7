#!/bin/sh
# Installs the build into an empty folder and builds a small program against what is there, shared and static.
# usage: install_test.sh BUILD_FOLDER SOURCE_FOLDER COMPILER
set -eu
build=$1 source=$2 compiler=$3
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

meson install -C "$build" --no-rebuild --destdir "$room" > "$room/log" || { cat "$room/log"; fail "meson install"; }

header=$(find "$room" -name tutti.h)
library=$(find "$room" -name libtutti.so)
archive=$(find "$room" -name libtutti.a)
package=$(find "$room" -name tutti.pc)
for file in "$header" "$library" "$archive" "$package"; do
  [ -n "$file" ] || fail "not installed: header '$header', library '$library', archive '$archive', package '$package'"
done
cmp "$header" "$source/include/tutti/tutti.h"
folder=$(dirname "$library")

# A file store, two ranks.
run_two_ranks() {
  rm -f "$room/store"*
  TUTTI_RANK=0 TUTTI_SIZE=2 TUTTI_STORE=file:$room/store "$1" > "$room/rank0" 2>&1 &
  first=$!
  TUTTI_RANK=1 TUTTI_SIZE=2 TUTTI_STORE=file:$room/store "$1" > "$room/rank1" 2>&1 || { cat "$room/rank1"; fail "$1, rank 1"; }
  wait "$first" || { cat "$room/rank0"; fail "$1, rank 0"; }
  grep -q ': 2 ranks' "$room/rank0" || { cat "$room/rank0"; fail "$1 printed something else"; }
}

export PKG_CONFIG_PATH="${package%/*}" PKG_CONFIG_SYSROOT_DIR="$room"
program=$source/tests/install/small_program.c

# $compiler and the flags of pkg-config are lists of words.
# shellcheck disable=SC2046,SC2086
$compiler -std=c99 -pedantic -Wall -Wextra -Werror "$program" $(pkg-config --cflags --libs tutti) -o "$room/shared"
readelf -d "$room/shared" | grep -q 'NEEDED.*\[libtutti\.so\.[0-9]' || fail "the program does not ask for a versioned libtutti.so.N"
LD_LIBRARY_PATH=$folder run_two_ranks "$room/shared"

rm "$folder"/libtutti.so*
# shellcheck disable=SC2046,SC2086
$compiler -std=c99 "$program" $(pkg-config --static --cflags --libs tutti) -o "$room/static"
readelf -d "$room/static" | grep -q 'libtutti' && fail "the static program asks for libtutti"
run_two_ranks "$room/static"
echo "installed, compiled and run: shared and static"
