#!/bin/sh
# Writes assembler that embeds each file between the symbols tutti_cuda_image_NAME and tutti_cuda_image_NAME_end.
# usage: embed.sh OUTPUT NAME.fatbin…
set -eu
output=$1
shift
{
  for file; do
    symbol=tutti_cuda_image_$(basename "$file" .fatbin)
    cat <<END
  .section .rodata.$symbol, "a"
  .balign 64
  .globl $symbol
  .hidden $symbol
$symbol:
  .incbin "$(realpath "$file")"
  .globl ${symbol}_end
  .hidden ${symbol}_end
${symbol}_end:
END
  done
  echo '  .section .note.GNU-stack, ""'
} >"$output"
