// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix && race

package reactor

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
