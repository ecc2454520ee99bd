// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"net"
	"sync"

	"github.com/quartet-go/quartet/codec"
	"github.com/valyala/bytebufferpool"
	"golang.org/x/sys/unix"
)

const (
	directSize   = 16 << 10 // a write from this size on is sent from where it lies, not copied to gather
	segmentSize  = 64 << 10 // small writes share segments, which grow to this size
	frameRoom    = 32       // what a frame is likely to add to its payload
	smallSegment = 4 << 10  // writes below this size always do
	smallShared  = 512      // what is left of a shared message shares segments below this size, for a reference is not free
	maxFlushes   = 4        // gathering writes for one event; the others of the loop wait meanwhile
)

var outputQueues = sync.Pool{New: func() any { return new(outputQueue) }}

// A segment is a piece of output that waits: a pooled buffer of the connection's own, or a message that others have too.
type segment struct {
	*bytebufferpool.ByteBuffer
	shared *Message // whose bytes these are, nil for a buffer of its own
}

// charge accounts for the segment's memory. Any goroutine.
func (s segment) charge(r *Reactor) {
	if s.shared != nil {
		s.shared.retain(r)
	} else {
		r.charge(int64(len(s.B)))
	}
}

// drop takes the charge back and frees the segment. Any goroutine.
func (s segment) drop(r *Reactor) {
	if s.shared == nil {
		r.charge(-int64(len(s.B)))
	}
	s.free()
}

// free gives the buffer back, or the use of the message up.
func (s segment) free() {
	if s.shared != nil {
		s.shared.release()
	} else {
		putBuffer(s.ByteBuffer)
	}
}

// An outputQueue holds what the kernel did not take, in order, in segments.
type outputQueue struct {
	segments []segment
	first    int // the first segment that is not sent
	offset   int // bytes of it that are
	size     int // bytes in all that are not
}

// append copies p to the end.
func (q *outputQueue) append(p []byte) {
	q.size += len(p)
	size := len(p)
	if last := len(q.segments) - 1; last >= q.first && q.segments[last].shared == nil {
		tail := q.segments[last]
		if len(tail.B)+len(p) <= cap(tail.B) {
			tail.B = append(tail.B, p...)
			return
		}
		size = max(size, min(2*cap(tail.B), segmentSize)) // more small writes are likely to come
	}
	s := getBuffer(size)
	s.B = append(s.B, p...)
	q.segments = append(q.segments, segment{ByteBuffer: s})
}

// push takes s over: as the last segment, or copied if it is so small that a segment of its own would cost more.
func (q *outputQueue) push(s segment) {
	if s.shared == nil && len(s.B) < smallSegment {
		q.append(s.B)
		s.free()
		return
	}
	q.size += len(s.B)
	q.segments = append(q.segments, s)
}

// parts fills dst with the first bytes.
func (q *outputQueue) parts(dst [][]byte) [][]byte {
	n := 0
	for i := q.first; i < len(q.segments) && n < len(dst); i++ {
		p := q.segments[i].B
		if i == q.first {
			p = p[q.offset:]
		}
		dst[n] = p
		n++
	}
	return dst[:n]
}

// sent drops n bytes from the front and returns how many of them lay in buffers of the connection's own.
func (q *outputQueue) sent(n int) (own int) {
	q.size -= n
	for n > 0 {
		s := q.segments[q.first]
		part := min(n, len(s.B)-q.offset)
		n -= part
		q.offset += part
		if s.shared == nil {
			own += part
		}
		if q.offset == len(s.B) {
			s.free()
			q.segments[q.first] = segment{}
			q.first++
			q.offset = 0
		}
	}
	if q.first > len(q.segments)/2 { // keep the slice from growing at its end for ever
		rest := copy(q.segments, q.segments[q.first:])
		clear(q.segments[rest:])
		q.segments, q.first = q.segments[:rest], 0
	}
	return own
}

// mayWrite says why nothing may be written, if so.
func (c *Conn) mayWrite() error {
	switch {
	case c.phase != phaseOpen || c.flags&(fClose|fFailed) != 0:
		return net.ErrClosed
	case c.flags&fCloseWrite != 0:
		return ErrWriteClosed
	case c.gathered()+int(c.held.Load()) >= c.origin.opts.MaxOutput:
		return ErrOverflow
	}
	return nil
}

// gathered returns how much of the loop's gathered output is the connection's.
func (c *Conn) gathered() int {
	if c.loop.cur == c {
		return len(c.loop.gather)
	}
	return 0
}

// write takes p: into the gathered output, to the socket, or to the end of the queue.
func (c *Conn) write(p []byte) error {
	l := c.loop
	switch {
	case l.cur != c || c.output != nil:
		c.enqueue(p)
	case len(p) < directSize && len(l.gather)+len(p) <= gatherSize:
		l.gather = append(l.gather, p...)
	default:
		if err := c.sendThrough(p); err != nil {
			return err
		}
	}
	c.wrote()
	return nil
}

// writeFrame is write for a payload to be framed, straight into the gathered output.
func (c *Conn) writeFrame(enc codec.Encoder, payload []byte) (err error) {
	l := c.loop
	direct := l.cur == c && c.output == nil
	if direct && len(payload) < directSize {
		gather, err := enc.AppendFrame(l.gather, payload)
		if err == nil { // an encoder that fails should return what it was given; one that does not shall lose nothing
			l.gather = gather
			c.wrote()
		}
		return err
	}
	s := getBuffer(len(payload) + frameRoom)
	if s.B, err = enc.AppendFrame(s.B, payload); err != nil {
		putBuffer(s)
		return err
	}
	sent := 0
	if direct {
		sent, err = c.sendWith(s.B)
	}
	if err != nil || sent == len(s.B) {
		putBuffer(s)
	} else {
		c.push(segment{ByteBuffer: s}, sent)
	}
	if err == nil {
		c.wrote()
	}
	return err
}

// wrote sees to the marks after a write.
func (c *Conn) wrote() {
	l := c.loop
	if l.cur != c {
		c.flags |= fUntried
		c.later()
	} else if n := len(l.gather); n > gatherSize || n > c.origin.opts.HighWater {
		c.flushGather()
	}
	c.checkHighWater()
}

// checkHighWater begins the state above the high-water mark.
func (c *Conn) checkHighWater() {
	if c.flags&fBlocked == 0 && c.Unsent() > c.origin.opts.HighWater {
		c.flags |= fBlocked
		c.stops(&c.loop.counts.HighWater, StopHighWater)
	}
}

// sendThrough sends the gathered output and p with one call and queues what is not taken. An error means that nothing of
// p was.
func (c *Conn) sendThrough(p []byte) error {
	n, err := c.sendWith(p)
	if err == nil {
		c.enqueue(p[n:])
	}
	return err
}

// sendWith sends the gathered output and p with one call, queues what is not taken of the first and says how much was of
// p. An error means that nothing was.
func (c *Conn) sendWith(p []byte) (n int, err error) {
	l := c.loop
	if c.handler == nil { // the accept func may still refuse the connection
		c.flushGather()
		c.flags |= fUntried
		return 0, nil
	}
	var errno unix.Errno
	if len(l.gather) == 0 {
		n, errno = send(int(c.fd), p)
	} else {
		l.parts[0], l.parts[1] = l.gather, p
		n, errno = l.gatherer.send(int(c.fd), l.parts[:2])
		l.parts[1] = nil
	}
	c.countWrite(n, len(l.gather)+len(p), errno)
	if n < len(l.gather) {
		c.enqueue(l.gather[n:])
		n = 0
	} else {
		n -= len(l.gather)
	}
	c.resetGather()
	if c.sendResult(errno); c.flags&fFailed != 0 {
		return 0, c.rare.cause
	}
	return n, nil
}

// flushGather sends the gathered output and queues what is not taken.
func (c *Conn) flushGather() {
	l := c.loop
	if len(l.gather) == 0 {
		return
	}
	var n int
	var errno unix.Errno
	if c.handler != nil {
		n, errno = send(int(c.fd), l.gather)
		c.countWrite(n, len(l.gather), errno)
	} else {
		c.flags |= fUntried
	}
	if n < len(l.gather) {
		c.enqueue(l.gather[n:])
	}
	c.resetGather()
	c.sendResult(errno)
}

// resetGather empties the gathered output; one large frame must not keep its memory for ever.
func (c *Conn) resetGather() {
	if cap(c.loop.gather) > 4*gatherSize {
		c.loop.gather = make([]byte, 0, gatherSize)
	}
	c.loop.gather = c.loop.gather[:0]
}

// flushUntried sends what was queued by others than the running step, all of a turn together.
func (c *Conn) flushUntried() {
	if c.flags&fUntried == 0 {
		return
	}
	c.flags &^= fUntried
	if c.output != nil && c.phase < phaseLingering && c.flags&fFailed == 0 {
		c.flushQueue()
	}
}

// flushQueue sends from the queue until the socket takes no more, or it is the others' turn.
func (c *Conn) flushQueue() {
	l := c.loop
	for range maxFlushes {
		parts := c.output.parts(l.parts[:])
		offered := 0
		for _, p := range parts {
			offered += len(p)
		}
		var n int
		var errno unix.Errno
		if len(parts) == 1 {
			n, errno = send(int(c.fd), parts[0])
		} else {
			n, errno = l.gatherer.send(int(c.fd), parts)
		}
		c.countWrite(n, offered, errno)
		clear(parts)
		if n > 0 {
			c.dropSent(n)
			c.progressed()
		}
		if c.output.size == 0 {
			c.dropOutput()
			return
		}
		c.sendResult(errno)
		if n < offered {
			return
		}
	}
	if edgeTriggered {
		c.flags |= fUntried
		c.later() // the socket may have room left, of which there will be no event
	}
}

// sendResult turns a socket's error into the connection's failure.
func (c *Conn) sendResult(errno unix.Errno) {
	if errno != 0 && errno != unix.EAGAIN && errno != unix.EINTR && errno != unix.ENOBUFS {
		c.fail(c.opError("write", "send", errno))
	} else if c.output == nil && c.moved > 0 {
		c.stir()
	}
	if edgeTriggered && (errno == unix.EINTR || errno == unix.ENOBUFS) {
		c.flags |= fUntried
		c.later() // no event will tell the end of that
	}
}

// enqueue copies p to the end of the queue.
func (c *Conn) enqueue(p []byte) {
	if len(p) == 0 {
		return
	}
	c.queue().append(p)
	c.hold(len(p))
}

// push puts a whole segment at the end of the queue, of which the first bytes were sent if the queue was empty.
func (c *Conn) push(s segment, sent int) {
	c.hold(len(s.B))
	c.queue().push(s)
	c.dropSent(sent)
}

// dropSent drops n bytes from the front of the queue, and what they count.
func (c *Conn) dropSent(n int) {
	own := c.output.sent(n)
	c.held.Add(int64(-n))
	c.loop.counts.unsent -= int64(n)
	c.loop.r.charge(int64(-own))
}

// queue returns the queue. A new one starts the clock of WriteTimeout.
func (c *Conn) queue() *outputQueue {
	if c.output == nil {
		c.output = outputQueues.Get().(*outputQueue)
		c.progressed()
	}
	return c.output
}

// progressed notes that the kernel took output, or that some began to wait.
func (c *Conn) progressed() {
	t := c.startStall()
	if c.moved != 0 {
		c.moved = t
	}
}

// dropOutput gives the queue and what is in it back.
func (c *Conn) dropOutput() {
	q := c.output
	if q == nil {
		return
	}
	c.dropSent(q.size)
	*q = outputQueue{segments: q.segments[:0]}
	if cap(q.segments) > 2*maxParts {
		q.segments = nil
	}
	outputQueues.Put(q)
	c.output = nil
}

// The output that a connection has taken and not sent is one number for all goroutines, and whether the connection
// has ended is a bit of it: so what Ref.Write takes is either refused or counted by the end, never both.
const heldEnded = 1 << 62

// hold accounts for n more bytes of output. On the loop only.
func (c *Conn) hold(n int) {
	c.held.Add(int64(n))
	c.loop.counts.unsent += int64(n)
	c.loop.r.charge(int64(n))
}

// reserve is hold for a Ref, without the charge; it fails when the connection has ended. Any goroutine.
func (c *Conn) reserve(n int) bool {
	if c.held.Add(int64(n))&heldEnded == 0 {
		return true
	}
	c.held.Add(int64(-n))
	return false
}

// seal marks the connection as ended and returns how many bytes it held until then. On the loop only.
func (c *Conn) seal() int64 { return c.held.Or(heldEnded) &^ heldEnded }

// hasEnded says whether Close has been called or is about to be. Any goroutine.
func (c *Conn) hasEnded() bool { return c.held.Load()&heldEnded != 0 }
