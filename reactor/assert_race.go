// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix && race

package reactor

import (
	"sync"

	"github.com/valyala/bytebufferpool"
)

// assertOnLoop panics if the caller is not on the connection's loop. Race builds only: it costs a microsecond.
func (c *Conn) assertOnLoop() {
	if c.loop.goid.Load() != goroutineID() {
		panic("reactor: method of Conn called outside its loop; use Conn.Ref and Ref.Do")
	}
}

// assertOnLoop panics if the caller is not on the socket's loop. Race builds only.
func (s *PacketConn) assertOnLoop() {
	if s.loop.goid.Load() != goroutineID() {
		panic("reactor: method of PacketConn called outside its loop")
	}
}

// assertOnLoop panics if the caller is not on the loop, as a method of Timer must be. Race builds only.
func (l *loop) assertOnLoop() {
	if l.goid.Load() != goroutineID() {
		panic("reactor: method of Timer called outside its loop")
	}
}

// takenBuffers are the pooled buffers that somebody has: each is given back once. Race builds only.
var takenBuffers sync.Map

func noteTaken(b *bytebufferpool.ByteBuffer) { takenBuffers.Store(b, true) }

func noteReturned(b *bytebufferpool.ByteBuffer) {
	if _, taken := takenBuffers.LoadAndDelete(b); !taken {
		panic("reactor: a buffer is given back that nobody took")
	}
}
