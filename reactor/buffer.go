// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"math/bits"

	"github.com/valyala/bytebufferpool"
)

// Unconsumed input and unsent output wait in pooled buffers, given back the moment they are empty. There is a pool
// for each power of two: so no leftover of a few bytes holds what a large frame once needed, and no pool learns from
// many small buffers to throw the few large ones away.
const (
	minBufferBits = 6  // 64 bytes
	maxBufferBits = 30 // 1 GiB; larger ones are not pooled
)

// maxInput is what one connection can keep unconsumed at most.
const maxInput = 1 << maxBufferBits

var bufferPools [maxBufferBits + 1]bytebufferpool.Pool

// getBuffer returns an empty buffer for size bytes, with room for less than twice as many, or 64.
func getBuffer(size int) *bytebufferpool.ByteBuffer {
	class := bits.Len(uint(max(size, 1<<minBufferBits) - 1))
	if class > maxBufferBits {
		return &bytebufferpool.ByteBuffer{B: make([]byte, 0, size)}
	}
	b := bufferPools[class].Get()
	if cap(b.B) < 1<<class {
		b.B = make([]byte, 0, 1<<class)
	}
	return b
}

// putBuffer gives a buffer back.
func putBuffer(b *bytebufferpool.ByteBuffer) {
	class := bits.Len(uint(cap(b.B))) - 1
	if class < minBufferBits || class > maxBufferBits {
		return
	}
	b.B = b.B[:1<<class] // the pool learns its sizes from lengths
	bufferPools[class].Put(b)
}
