// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"fmt"
	"math/bits"

	"golang.org/x/sys/unix"
)

// ready is a step: the poller reported the connection.
func (c *Conn) ready() {
	if c.phase == phaseLingering {
		c.readLinger()
		return
	}
	if edgeTriggered && c.loop.event.read {
		c.flags |= fReadable
	}
	ev := c.loop.event
	if c.output != nil && (ev.write || ev.trouble) {
		c.flushQueue() // room, a hang-up or an error: the write tells which
		if c.unblock() {
			c.redeliver()
		}
	}
	reading := c.interest == interestRead || c.interest == interestBoth
	switch {
	case reading && (ev.read || ev.trouble):
		c.read()
	case ev.trouble && c.output == nil && c.flags&fFailed == 0: // the error may be a hijacker's
		c.probe()
	}
}

// probe asks the socket for an error while neither reading nor writing would tell.
func (c *Conn) probe() {
	if errno := socketError(int(c.fd)); errno != 0 {
		c.fail(c.opError("read", "getsockopt", errno))
	}
}

// receives says whether input is received: to be delivered, or after CloseRead to be discarded, which takes no memory
// and so waits for nothing.
func (c *Conn) receives() bool {
	hindrances := fStopped | fParked
	if c.flags&fCloseRead != 0 {
		hindrances = fClose | fFailed
	}
	return c.phase == phaseOpen && c.flags&(hindrances|fEOF|fLastRead) == 0
}

// mayRead says whether more input may be received now; delivery owed comes first.
func (c *Conn) mayRead() bool { return c.flags&fAgain == 0 && c.receives() }

// read receives once and delivers.
//
// Without a leftover the handler sees the loop's own buffer. A small leftover is put in front of what was received
// there; a large one is received into, in its own buffer, so that the bytes of a large frame are copied only as that
// grows.
func (c *Conn) read() {
	if !c.mayRead() {
		return // the event is older than the state
	}
	if l := c.loop; l.r.pressed.Load() && c.flags&fCloseRead == 0 {
		l.park(c)
		return
	}
	c.receive()
}

// receive is read without asking whether there is room.
func (c *Conn) receive() {
	l := c.loop
	old, into := c.unconsumed(), l.in[headroom:]
	large := len(old) > headroom
	if large {
		into = c.growInput()
	}
	n, errno := recv(int(c.fd), into)
	c.countRead(n, len(into), errno)
	switch {
	case n > 0 && large:
		c.input.B = c.input.B[:len(c.input.B)+n]
		c.received(c.unconsumed())
	case n > 0:
		start := headroom - copy(l.in[headroom-len(old):], old)
		c.received(l.in[start : headroom+n])
	case errno == unix.EAGAIN:
		c.flags &^= fReadable
	case errno == unix.EINTR:
	case errno != 0:
		c.fail(c.opError("read", "recvfrom", errno))
	default:
		c.peerEnded()
	}
}

// received delivers in: everything unconsumed, what has just come last.
func (c *Conn) received(in []byte) {
	if c.moved > 0 {
		c.stir()
	}
	if c.flags&(fSilent|fReadBy) != 0 {
		c.heard()
	}
	if c.flags&fCloseRead == 0 {
		c.deliver(in)
	}
}

// deliver hands in to the handler and keeps what it does not consume.
func (c *Conn) deliver(in []byte) {
	if len(in) < c.need {
		c.keep(in)
		c.awaitRest(false)
		return
	}
	c.need = 0
	l := c.loop
	l.delivering, l.delivered = in, 0
	mark := l.mark()
	consumed, err := c.handler.Data(c, in)
	l.span(TraceData, c, mark, consumed, len(in))
	l.delivering = nil
	if uint(consumed) > uint(len(in)) {
		panic(fmt.Sprintf("reactor: Data consumed %d of %d bytes", consumed, len(in)))
	}
	if err != nil {
		c.finish(err) // before keep, which may have a complaint of its own
	}
	if rest := in[consumed:]; len(rest) > 0 || c.input != nil {
		c.keep(rest)
		c.awaitRest(consumed > 0)
	}
}

// redeliver hands the leftover to the handler again, without new bytes.
func (c *Conn) redeliver() {
	if in := c.unconsumed(); len(in) > 0 && !c.stopped() {
		c.flags &^= fAgain
		c.deliver(in)
	}
}

// peerEnded is the arrow OPEN --peer FIN--> EOF. Reading is over for good: a descriptor at its end is readable for ever.
func (c *Conn) peerEnded() {
	c.flags = c.flags&^fReadable | fEOF
	c.loop.counts.Ends++
	c.noteLasting(TraceEOF, len(c.unconsumed()), 0)
	if c.flags&fCloseRead != 0 {
		return
	}
	err := c.handler.EOF(c, c.unconsumed())
	c.dropInput()
	if err != nil {
		c.finishUnlessHeld(err)
	}
}

// unconsumed returns what waits in the connection's own buffer.
func (c *Conn) unconsumed() []byte {
	if c.input == nil {
		return nil
	}
	return c.input.B[c.consumed:]
}

// keep makes rest, the end of what was delivered, the connection's unconsumed input.
func (c *Conn) keep(rest []byte) {
	n, old := len(rest), c.unconsumed()
	if n == 0 {
		c.dropInput()
		return
	}
	fits := c.input != nil && cap(c.input.B) <= max(4*n, headroom) // a few bytes shall not hold what a large frame needed
	switch own := len(old) >= n && &old[len(old)-1] == &rest[n-1]; {
	case own && n == len(old) && n >= readSize/2: // its room is for what waits in the socket
	case fits && own:
		c.consumed += int32(len(old) - n) // it was delivered from there
	case fits && !own && cap(c.input.B) >= n:
		c.input.B, c.consumed = append(c.input.B[:0], rest...), 0
	default:
		size := n
		if c.need-n >= readSize && queued(int(c.fd)) > 0 {
			size = c.inputRoom(n) // now rather than at the next event, which would copy it once more
		}
		c.moveInput(rest, size)
	}
	limit := c.inputLimit()
	if (len(rest) > min(limit, maxInput-1) || c.need > limit) && !c.stopped() && c.flags&fAgain == 0 {
		c.finish(fmt.Errorf("%w: %d bytes unconsumed, %d wanted, limit %d",
			ErrInputLimit, len(rest), max(c.need, len(rest)), min(limit, maxInput-1)))
	}
}

// inputLimit is MaxInput, or what the handler's codec needs.
func (c *Conn) inputLimit() int {
	limit := c.origin.opts.MaxInput
	if h, ok := c.handler.(interface{ maxInput() int }); ok {
		limit = max(limit, h.maxInput())
	}
	return limit
}

// growInput returns room to receive into behind a large leftover: for one read, or two where a large frame needs them.
func (c *Conn) growInput() []byte {
	have := len(c.input.B) - int(c.consumed)
	if free := cap(c.input.B) - len(c.input.B); free == 0 || free < readSize && c.need > have+free {
		c.moveInput(c.unconsumed(), c.inputRoom(have))
	}
	size := max(readSize, min(c.need-have, largeRead))
	end := len(c.input.B)
	return c.input.B[end:min(end+size, cap(c.input.B))]
}

// inputRoom returns how large the buffer shall be that holds have bytes and is to hold more: as what is needed, halved
// until it is not beyond twice what has come plus one read. So it grows geometrically, and a header that promises much
// reserves nothing. What waits in the socket has come too: where that is the whole frame, nothing is copied to grow.
func (c *Conn) inputRoom(have int) int {
	limit := 2*uint(have) + readSize
	if c.need <= have { // nobody knows what is needed
		return min(1<<(bits.Len(limit)-1), maxInput) // more than have
	}
	size := max(c.need, have+headroom) // a decoder may only know that it needs one byte more
	if bufferRoom(size) > limit {
		limit += 2 * uint(queued(int(c.fd)))
	}
	for bufferRoom(size) > limit {
		size = (size + 1) / 2 // whose room is still more than have
	}
	return min(size, maxInput)
}

// moveInput has rest, with which the unconsumed input ends, in a buffer of size bytes.
func (c *Conn) moveInput(rest []byte, size int) {
	b := getBuffer(size)
	b.B = append(b.B, rest...)
	c.dropInput()
	c.input = b
	c.chargeRoom()
}

// dropInput gives the buffer back.
func (c *Conn) dropInput() {
	if c.input == nil {
		return
	}
	putBuffer(c.input)
	c.input, c.consumed = nil, 0
	c.chargeRoom()
}

// chargeRoom accounts for the memory that input takes now.
func (c *Conn) chargeRoom() {
	room := 0
	if c.input != nil {
		room = cap(c.input.B)
	}
	if delta := int32(room) - c.room.Load(); delta != 0 {
		c.room.Add(delta)
		c.loop.r.charge(int64(delta))
	}
}
