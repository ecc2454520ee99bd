// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/quartet-go/quartet/codec"
	"github.com/valyala/bytebufferpool"
)

// A Conn is one connection of a loop. It never leaves its loop: every method may be called only on it, that is inside
// the methods of the connection's Handler, of the handlers of other connections of the loop, or a function given to
// Ref.Do. Elsewhere use Ref. A Conn is not reused: once ended it stays so, its methods answer net.ErrClosed or do
// nothing, and its ID and tuple remain readable.
//
// The Conn that Ref.Do gives for a Session, or a socket of DialPacket, is no stream: Write and Send send one datagram,
// Close and Abort end it, Session and PacketConn lead to what it stands for, and what is about streams alone does
// nothing; where it has an error, that is errors.ErrUnsupported.
//
// No method calls a handler. What a call leads to, Close or Writable say, happens after the running method has returned.
type Conn struct {
	loop     *loop
	handler  Handler
	origin   *origin
	input    *bytebufferpool.ByteBuffer // received and unconsumed; nil if there is none
	output   *outputQueue               // written and not taken by the kernel; nil if there is none
	rare     *rareState                 // what few connections need, nil until needed
	tuple    FourTuple
	id       uint64
	held     atomic.Int64 // bytes of output queued here or posted by Ref, and whether the connection has ended: see hold
	moved    int64        // when a byte last moved, or unstamped; 0 if there is no idle timeout
	need     int          // bytes that must be there before Data is called again
	deadline int64        // when to look again, valid while heapIndex >= 0

	fd        int32
	room      atomic.Int32 // bytes of memory that input takes
	heapIndex int32        // place in the loop's deadlines, -1 for none
	consumed  int32        // bytes at the start of input that the handler consumed
	seen      int32        // bytes of what is unconsumed that the decoder has examined
	holds     int32        // releases outstanding, see Hold
	phase     phase
	interest  interest
	flags     flags
}

// rareState is what only few connections need at a time.
type rareState struct {
	cause      error         // what Close will get, nil for a plain Close
	progress   int64         // when the kernel last took output, while some waits
	lingerEnd  int64         // when lingering ends at the latest
	lingerLeft int           // bytes that may still be discarded
	awaited    int64         // since when the first byte or the rest of a frame is, or unstamped; 0 for neither
	readBy     int64         // SetReadDeadline's, valid with fReadBy
	writeLimit time.Duration // SetWriteDeadline's, 0 for WriteTimeout
	idleLimit  time.Duration // SetIdleTimeout's, 0 for IdleTimeout
	timers     *Timer        // the first of those pending

	suspensions int // not ended, see Suspend
	ctx         context.Context
	cancel      context.CancelCauseFunc // of ctx
	peer        *peer                   // whose record the connection is, see packet_peer.go
	memberships []membership            // in groups
}

func (c *Conn) extra() *rareState {
	if c.rare == nil {
		c.rare = new(rareState)
	}
	return c.rare
}

// ID names the connection for ever: no other of the same Reactor has it. It is never 0. Any goroutine may call it.
func (c *Conn) ID() uint64 { return c.id }

// Tuple returns the connection's two addresses, the zero value for a unix connection. Any goroutine may call it.
func (c *Conn) Tuple() FourTuple { return c.tuple }

// Ref returns the connection's handle for other goroutines. Any goroutine may call it.
func (c *Conn) Ref() Ref { return Ref{c} }

// Write takes all of p or nothing, and never blocks. What is written while a handler runs gathers and is sent when it
// returns, or before that when it passes 64 KiB; p is not kept. The count is len(p) or 0. The error is ErrOverflow at
// MaxOutput, which closes nothing, ErrWriteClosed after CloseWrite, net.ErrClosed after Close, or the socket's own
// error, after which Close follows.
func (c *Conn) Write(p []byte) (int, error) {
	c.assertOnLoop()
	if err := c.mayWrite(); err != nil {
		if peer := c.peer(); peer != nil {
			return peer.write(p)
		}
		return 0, err
	}
	if err := c.write(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Send writes payload framed by enc. Its errors are those of Write and of enc; nothing is written then.
func (c *Conn) Send(enc codec.Encoder, payload []byte) error {
	c.assertOnLoop()
	if p := c.peer(); p != nil {
		frame, err := enc.AppendFrame(nil, payload)
		if err != nil {
			return err
		}
		_, err = p.write(frame)
		return err
	}
	if err := c.mayWrite(); err != nil {
		return err
	}
	return c.writeFrame(enc, payload)
}

// Unsent returns how many written bytes the kernel has not taken yet.
func (c *Conn) Unsent() int {
	c.assertOnLoop()
	if c.output == nil {
		return c.gathered()
	}
	return c.gathered() + c.output.size
}

// Blocked says whether output has passed the high-water mark and not yet fallen below the low-water mark. Input is
// neither delivered nor read meanwhile; Writable tells the end of it. A handler that produces output by itself stops
// here.
func (c *Conn) Blocked() bool {
	c.assertOnLoop()
	return c.flags&fBlocked != 0
}

// Need postpones Data until n bytes are there to be consumed, or the peer's end. It holds for the next call only.
// More than MaxInput closes the connection with ErrInputLimit.
func (c *Conn) Need(n int) {
	c.assertOnLoop()
	if n < c.need {
		c.continueLater() // what came meanwhile may be enough
	}
	c.need = max(n, 0)
}

// Pause stops delivery and reading, frames already received included, until Resume. The peer's reset is still
// noticed, its end is not. Pausing twice is pausing once.
func (c *Conn) Pause() {
	c.assertOnLoop()
	if c.flags&fPaused == 0 {
		c.flags |= fPaused
		c.stops(&c.loop.counts.Pauses, StopPaused)
		c.touch()
	}
}

// Resume restarts what Pause stopped. What is unconsumed is delivered in the next turn, without waiting for new bytes.
func (c *Conn) Resume() {
	c.assertOnLoop()
	if c.flags&fPaused != 0 {
		c.flags &^= fPaused
		c.expectAgain()
		c.noteLasting(TraceResumed, int(StopPaused), 0)
		c.continueLater()
	}
}

// Suspend is Pause for whoever works for the handler: it stops the same, but neither Resume nor the end of another
// suspension restarts it. The function it returns does, on the loop only; calls after the first do nothing.
func (c *Conn) Suspend() (resume func()) {
	c.assertOnLoop()
	c.extra().suspensions++
	c.flags |= fSuspended
	c.touch()
	ended := false
	return func() {
		c.assertOnLoop()
		if ended {
			return
		}
		ended = true
		if c.rare.suspensions--; c.rare.suspensions == 0 {
			c.flags &^= fSuspended
			c.expectAgain()
			c.continueLater()
		}
	}
}

// Context returns a context that is done as soon as nothing can be written to the connection any more, because it was
// closed or has failed. Its cause (context.Cause) is why: net.ErrClosed after a plain Close, otherwise what the
// handler's Close gets, without the *UnsentError.
func (c *Conn) Context() context.Context {
	c.assertOnLoop()
	x := c.extra()
	if x.ctx == nil {
		x.ctx, x.cancel = context.WithCancelCause(context.Background())
		if p := c.peer(); p != nil && p.closed() || p == nil && (c.phase != phaseOpen || c.flags&(fClose|fFailed) != 0) {
			c.cancelContext()
		}
	}
	return x.ctx
}

// cancelContext ends the connection's context, if anyone asked for it.
func (c *Conn) cancelContext() {
	if c.rare == nil || c.rare.cancel == nil {
		return
	}
	cause := c.cause()
	if cause == nil {
		cause = net.ErrClosed
	}
	c.rare.cancel(cause)
}

// errNoStream is what methods that are about streams alone answer for a peer of datagrams.
var errNoStream = fmt.Errorf("reactor: no stream: %w", errors.ErrUnsupported)

// noStream says why c is no stream, or none any more.
func (c *Conn) noStream() error {
	if c.phase == phasePeer && !c.hasEnded() {
		return errNoStream
	}
	return net.ErrClosed
}

// SetHandler gives the connection another handler, after a handshake say. The old one hears no more, its Close
// included; what is unconsumed when the running method returns is delivered to the new one in the next turn.
func (c *Conn) SetHandler(h Handler) {
	c.assertOnLoop()
	if c.handler == nil {
		return // ended, or the accept func has not returned its handler yet
	}
	c.handler = h
	c.seen, c.need = 0, 0
	c.continueLater()
}

// Close sends what has been written, then closes: no input is delivered any more. The handler's Close follows when the
// kernel has taken everything, or WriteTimeout passed without progress.
func (c *Conn) Close() error { return c.CloseWithError(nil) }

// CloseWithError is Close with a cause, which the handler's Close gets, as if Data had returned it. The first cause
// stays.
func (c *Conn) CloseWithError(cause error) error {
	c.assertOnLoop()
	if c.phase != phaseOpen {
		if p := c.peer(); p != nil {
			return p.close(cause)
		}
		return net.ErrClosed
	}
	c.finish(cause)
	return nil
}

// CloseWrite sends what has been written, then shuts down the writing half (shutdown(2)). Input is delivered until the
// peer's end. Calling it twice is calling it once.
func (c *Conn) CloseWrite() error { return c.closeHalf(fCloseWrite) }

// CloseRead ends reading: neither Data nor EOF is called any more, and what is unconsumed is dropped. What the peer
// still sends is received and discarded, paused or not: left unread it would fill the kernel's buffer and turn the end
// of the connection into a reset, which destroys replies on their way. For that reason it is not shutdown(2), of which
// a TCP peer hears nothing either.
//
// The peer's end closes nothing by itself, for a peer that has sent all may still wait for the answer: the connection
// stays open for writing until Close, which discards no more than 64 KiB, or CloseWrite, which discards until the peer
// ends and then closes with io.EOF. IdleTimeout, to which discarded bytes are input, bounds the wait for that. Calling it
// twice is calling it once.
func (c *Conn) CloseRead() error { return c.closeHalf(fCloseRead) }

func (c *Conn) closeHalf(half flags) error {
	c.assertOnLoop()
	if c.phase != phaseOpen {
		return c.noStream()
	}
	c.flags |= half
	c.touch()
	return nil
}

// Abort drops what was not sent and resets the connection (on unix sockets, closes it). The handler's Close gets
// ErrAborted, in an *UnsentError if output was left.
func (c *Conn) Abort() {
	c.assertOnLoop()
	if p := c.peer(); p != nil {
		_ = p.close(ErrAborted)
	} else if c.fail(ErrAborted) {
		c.flags |= fReset
	}
}

// Hold keeps the connection while an answer to it is being made elsewhere: through the peer's end, even if EOF
// returned an error, through a drain, and beyond its idle timeout. The function it returns ends that; any goroutine
// may call it, calls after the first do nothing. Neither Close nor a socket error is held up.
func (c *Conn) Hold() (release func()) {
	c.assertOnLoop()
	c.holds++
	var released atomic.Bool
	return func() {
		if !released.Swap(true) {
			_ = c.loop.post(task{op: opRelease, c: c}, true)
		}
	}
}
