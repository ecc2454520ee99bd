// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import "sync"

// A handoff is the goroutines of the push service: what was read from a connection of type C is copied and written back
// by one of them, always the same for a connection.
type handoff[C any] struct {
	queues []chan pushed[C]
	pool   sync.Pool // *[]byte
}

type pushed[C any] struct {
	to  C
	buf *[]byte
}

// The pool is as large for all servers. A queue that is full makes who reads wait.
const (
	pushers   = 4
	pushQueue = 1024
)

// newHandoff starts the goroutines. write gives the buffer back with free when it is done with it.
func newHandoff[C any](write func(to C, buf *[]byte, free func(*[]byte))) *handoff[C] {
	h := &handoff[C]{}
	h.pool.New = func() any { return new([]byte) }
	free := func(b *[]byte) { h.pool.Put(b) }
	for range pushers {
		q := make(chan pushed[C], pushQueue)
		h.queues = append(h.queues, q)
		go func() {
			for p := range q {
				write(p.to, p.buf, free)
			}
		}()
	}
	return h
}

// give hands a copy of p over. id is the connection's.
func (h *handoff[C]) give(id uint64, to C, p []byte) {
	b := h.pool.Get().(*[]byte)
	*b = append((*b)[:0], p...)
	h.queues[id%pushers] <- pushed[C]{to, b}
}
