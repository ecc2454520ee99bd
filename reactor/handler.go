// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import "io"

// An AcceptFunc makes the handler of a new connection. It runs on the connection's loop before any byte is read and may
// already write. A handler that is one shared value costs no memory per connection. An error refuses the connection: it
// is closed at once, nothing written is sent, and no method of any handler is called.
type AcceptFunc func(c *Conn) (Handler, error)

// A Handler reacts to one connection. Every method runs on that connection's loop, one at a time, and none is
// called from inside another method of the same connection. Embed Base for the defaults.
type Handler interface {
	// Data is called when bytes have arrived. in is everything received and not yet consumed; Data says how many it
	// consumed. The rest comes again when more has arrived, on Resume, and when output falls below the low-water
	// mark. in is valid only until Data returns, and must not be written to. An error closes the connection as Close
	// does; Close gets it. A count outside 0..len(in) is a panic.
	Data(c *Conn, in []byte) (consumed int, err error)

	// EOF is called once when the peer has shut down its writing half; rest is what was not consumed, valid until EOF
	// returns. An error, io.EOF included, sends what is buffered and closes; Close gets it. Otherwise the
	// connection stays open for writing, until Close or CloseWrite.
	EOF(c *Conn, rest []byte) error

	// Writable is called when output that was above the high-water mark has fallen below the low-water mark.
	Writable(c *Conn)

	// Close is called exactly once, last, with the tuple still readable. nil: closed here and every byte was taken by
	// the kernel; io.EOF: the peer ended cleanly; otherwise the cause, *UnsentError if output was left, ErrHijacked if
	// the connection lives on without the reactor.
	Close(c *Conn, err error)
}

// A Drainer is a Handler that wants to learn that Shutdown has begun. Draining is called once, on the loop,
// before the connection's last read; it may write a farewell or call Hold.
type Drainer interface {
	Draining(c *Conn)
}

// Base has the defaults of a Handler: at the peer's end it sends what is buffered and closes, with io.EOF if everything
// was consumed and io.ErrUnexpectedEOF if not. Writable and Close do nothing.
type Base struct{}

// EOF returns io.EOF if rest is empty and io.ErrUnexpectedEOF if not.
func (Base) EOF(_ *Conn, rest []byte) error {
	if len(rest) > 0 {
		return io.ErrUnexpectedEOF
	}
	return io.EOF
}

// Writable does nothing.
func (Base) Writable(*Conn) {}

// Close does nothing.
func (Base) Close(*Conn, error) {}

// DataFunc makes a Handler of a function that is its Data; the rest is Base.
func DataFunc(data func(c *Conn, in []byte) (consumed int, err error)) Handler {
	return &dataFunc{data: data}
}

type dataFunc struct {
	Base
	data func(c *Conn, in []byte) (int, error)
}

func (h *dataFunc) Data(c *Conn, in []byte) (int, error) { return h.data(c, in) }
