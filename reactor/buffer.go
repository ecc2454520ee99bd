// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"math/bits"

	"github.com/valyala/bytebufferpool"
)

// Unconsumed input and unsent output wait in pooled buffers, given back the moment they are empty. There is a pool for
// each of four sizes between powers of two: so no leftover of a few bytes holds what a large frame once needed, at most
// a fifth of a buffer is room for nothing, and no pool learns from many small buffers to throw the few large ones away.
const (
	minBufferBits = 6  // 64 bytes
	maxBufferBits = 30 // 1 GiB; larger ones are not pooled
)

// maxInput is what one connection can keep unconsumed at most.
const maxInput = 1 << maxBufferBits

var bufferPools [(maxBufferBits-minBufferBits)*4 + 1]bytebufferpool.Pool

// bufferClass returns the class of the smallest buffers with room for size bytes; it may be beyond those that are pooled.
func bufferClass(size int) int {
	if size <= 1<<minBufferBits {
		return 0
	}
	e := bits.Len(uint(size-1)) - 1 // 1<<e < size <= 2<<e
	quarter := 1 << (e - 2)
	return (e-minBufferBits)*4 + (size-(1<<e)+quarter-1)/quarter
}

// classSize returns how much room the buffers of a class have.
func classSize(class int) int { return (4 + class%4) << (class/4 + minBufferBits - 2) }

// bufferRoom returns how much room getBuffer gives for size bytes.
func bufferRoom(size int) uint { return uint(classSize(bufferClass(size))) }

// getBuffer returns an empty buffer with room for size bytes.
func getBuffer(size int) *bytebufferpool.ByteBuffer {
	var b *bytebufferpool.ByteBuffer
	if class := bufferClass(size); class >= len(bufferPools) {
		b = &bytebufferpool.ByteBuffer{B: make([]byte, 0, size)}
	} else if b = bufferPools[class].Get(); cap(b.B) < classSize(class) {
		b.B = make([]byte, 0, classSize(class))
	}
	noteTaken(b)
	return b
}

// putBuffer gives a buffer back. Where append has made it grow, its room may lie between two classes.
func putBuffer(b *bytebufferpool.ByteBuffer) {
	noteReturned(b)
	class := bufferClass(cap(b.B))
	if class < len(bufferPools) && classSize(class) > cap(b.B) {
		class--
	}
	if class < 0 || class >= len(bufferPools) {
		return
	}
	b.B = b.B[:classSize(class)] // the pool learns its sizes from lengths
	bufferPools[class].Put(b)
}
