// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"math/bits"

	"github.com/valyala/bytebufferpool"
)

// Unconsumed input waits in pooled buffers, given back the moment they are empty. Their sizes are powers of two, with
// a pool for each, so that no leftover of a few bytes holds what a large frame once needed.
const (
	minInputBits = 6  // 64 bytes
	maxInputBits = 30 // 1 GiB, what one connection can keep at most
	maxInput     = 1 << maxInputBits
)

var inputPools [maxInputBits + 1]bytebufferpool.Pool

// getInput returns an empty buffer for size bytes, with room for less than twice as many, or 64.
func getInput(size int) *bytebufferpool.ByteBuffer {
	class := max(minInputBits, bits.Len(uint(size-1)))
	b := inputPools[class].Get()
	if cap(b.B) < 1<<class {
		b.B = make([]byte, 0, 1<<class)
	}
	return b
}

// putInput gives a buffer back.
func putInput(b *bytebufferpool.ByteBuffer) {
	class := bits.Len(uint(cap(b.B))) - 1
	b.B = b.B[:1<<class] // the pool learns its sizes from lengths
	inputPools[class].Put(b)
}
