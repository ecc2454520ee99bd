// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build linux && quartet_simulated

package reactor_test

import (
	"errors"
	"io"
	"net"
	"runtime"
	"slices"
	"time"

	"github.com/quartet-go/quartet/reactor"
)

// A life is one connection as its handler sees it: what it may be told next, and what it did itself.
type life struct {
	k      *simulation
	s      *stream
	c      *reactor.Conn
	ref    reactor.Ref
	id     uint64
	loop   int
	handle *handle // the one that SetHandler set last

	opened bool // the accept func returned a handler
	inside bool // one of its methods runs
	told   bool // Draining was called
	eof    bool // EOF was
	closed bool // Close was
	fate   error

	consumed int // bytes of the peer's pattern
	seen     int // how far Data has looked
	need     int

	accepted int64 // bytes of records that were taken, in all
	gathered int64 // of them, at most, those that were not offered to the kernel yet
	next     [sources]int

	paused   bool
	resumes  []func() // of suspensions
	releases []func() // of holds
	deafened bool     // CloseRead was called
	shut     bool     // CloseWrite was
	closing  bool     // Close was, or an error was returned
	failing  bool     // Abort was, or a panic
	ifUnheld bool     // EOF returned an error while held
	ownTimes bool     // it set deadlines of its own
	timers   []int64  // when those that are pending are due

	bornAt       int64
	receivedThen int   // bytes received when Close was called
	closedAt     int64 // when that was
}

// errors that handlers give.
var errWhim = errors.New("the handler's whim")

// A handle is the Handler. SetHandler gives a life another, and the old one must hear no more.
type handle struct{ *life }

// drainer is one that wants to hear of Shutdown.
type drainer struct{ *handle }

func (h drainer) Draining(c *reactor.Conn) {
	defer h.enter(c, h.handle, "Draining")()
	if h.told {
		h.k.complain("Draining was called twice")
	}
	h.told = true
	h.act(c)
}

// accept is the accept func.
func (k *simulation) accepted(c *reactor.Conn) (reactor.Handler, error) {
	s := k.files[c.FD()].stream
	l := &life{k: k, s: s, c: c, ref: c.Ref(), id: c.ID(), loop: c.LoopIndex(), bornAt: k.now()}
	if s == nil || s.life != nil {
		k.complain("the accept func is given descriptor %d, which is another's", c.FD())
		return nil, errWhim
	}
	s.life = l
	k.lives = append(k.lives, l)
	k.counts.conns++
	l.inside = true
	defer func() { l.inside = false }()
	switch k.upTo(30) {
	case 1:
		k.counts.panics++
		panic(errWhim)
	case 2:
		k.counts.goexits++
		runtime.Goexit()
	case 3:
		return nil, errWhim
	case 4, 5, 6:
		l.write(c)
		if k.chance(4) {
			return nil, errWhim
		}
	case 7:
		l.setNeed(c)
	case 8:
		l.pause(c)
	}
	l.opened = true
	return l.newHandle(), nil
}

func (l *life) newHandle() reactor.Handler {
	l.handle = &handle{l}
	if l.k.chance(2) {
		return drainer{l.handle}
	}
	return l.handle
}

// enter begins a method and returns what ends it.
func (l *life) enter(c *reactor.Conn, h *handle, method string) (leave func()) {
	l.k.note(method, l.s.fd, l.consumed, l.s.received)
	switch {
	case c != l.c:
		l.k.complain("%s is given another connection", method)
	case h != l.handle:
		l.k.complain("%s of a handler that was replaced", method)
	case l.closed:
		l.k.complain("%s after Close", method)
	case l.inside:
		l.k.complain("%s inside another method", method)
	case reactor.RunningID(l.k.r, l.loop) != l.id:
		l.k.complain("%s outside the connection's step", method)
	}
	l.inside = true
	return func() { l.inside = false }
}

// mayHear complains about what a handler must not be told in its state.
func (l *life) mayHear(method string) {
	switch {
	case l.closing || l.failing:
		l.k.complain("%s while the connection closes", method)
	case method == "Writable":
	case l.paused || len(l.resumes) > 0:
		l.k.complain("%s while paused", method)
	case l.deafened:
		l.k.complain("%s after CloseRead", method)
	case l.eof:
		l.k.complain("%s after EOF", method)
	}
}

// look checks what is shown of the peer's pattern.
func (l *life) look(method string, in []byte) {
	switch {
	case l.consumed+len(in) != l.s.received:
		l.k.complain("%s is shown %d bytes at %d of %d received", method, len(in), l.consumed, l.s.received)
	case string(in) != string(patternOf(l.s.serial, l.consumed, len(in))):
		l.k.complain("%s is shown wrong bytes", method)
	}
	l.seen = l.s.received
}

func (h *handle) Data(c *reactor.Conn, in []byte) (int, error) {
	defer h.enter(c, h, "Data")()
	h.mayHear("Data")
	h.look("Data", in)
	if c.Blocked() {
		h.k.complain("Data while blocked")
	}
	if len(in) == 0 || len(in) < h.need {
		h.k.complain("Data with %d bytes, %d are needed", len(in), h.need)
	}
	h.need = 0
	n := len(in)
	if h.k.chance(3) {
		n = h.k.upTo(len(in) + 1)
	}
	h.act(c)
	if h.k.chance(500) {
		h.k.counts.panics++
		h.failing = true
		return len(in) + 1, nil
	}
	h.consumed += n
	return n, h.whim()
}

// whim returns an error at times.
func (l *life) whim() error {
	if !l.k.chance(150) {
		return nil
	}
	l.closing = true
	return errWhim
}

func (h *handle) EOF(c *reactor.Conn, rest []byte) error {
	defer h.enter(c, h, "EOF")()
	h.mayHear("EOF")
	h.look("EOF", rest)
	if !h.s.fin || h.s.arrived() > 0 {
		h.k.complain("EOF before the peer's end")
	}
	h.eof = true
	h.consumed = h.s.received
	h.act(c)
	if h.k.chance(3) {
		return nil
	}
	if c.Held() { // perhaps by a Hold whose release is on its way
		h.ifUnheld = true
	} else {
		h.closing = true
	}
	return reactor.Base{}.EOF(c, rest)
}

func (h *handle) Writable(c *reactor.Conn) {
	defer h.enter(c, h, "Writable")()
	h.mayHear("Writable")
	if low := h.k.stream.LowWater; c.Blocked() || c.Unsent() > 0 && c.Unsent() >= low {
		h.k.complain("Writable with %d bytes unsent, the low-water mark is %d", c.Unsent(), low)
	}
	h.act(c)
}

func (h *handle) Close(c *reactor.Conn, err error) {
	defer h.enter(c, h, "Close")()
	h.closed, h.fate = true, err
	h.receivedThen, h.closedAt = h.s.received, h.k.now()
	h.k.counts.closes++
	h.checkClose(err)
	if h.k.chance(3) { // nothing of this may have an effect
		if _, err := c.Write([]byte("late")); !errors.Is(err, net.ErrClosed) {
			h.k.complain("Write inside Close returned %v", err)
		}
		_ = c.Close()
		c.Abort()
		c.Pause()
		c.Resume()
	}
	switch h.k.upTo(60) {
	case 1:
		h.k.counts.panics++
		panic(errWhim)
	case 2:
		h.k.counts.goexits++
		runtime.Goexit()
	}
}

// checkClose checks what Close is told against what has happened.
func (l *life) checkClose(err error) {
	var unsent *reactor.UnsentError
	var panicked *reactor.PanicError
	lost := int64(0)
	if errors.As(err, &unsent) {
		lost = unsent.Bytes
	}
	missing := l.accepted - int64(l.s.taken) - lost
	if errors.As(err, &panicked) {
		if !l.failing {
			l.k.complain("Close is told of a panic: %v", err)
		}
		if missing < 0 || missing > l.gathered {
			l.k.complain("%d bytes were written, %d taken, %d told as unsent, %d at most dropped by a panic", l.accepted, l.s.taken, lost, l.gathered)
		}
	} else if missing != 0 {
		l.k.complain("%d bytes were written, %d taken and %d told as unsent: %v", l.accepted, l.s.taken, lost, err)
	}
	if (err == nil || err == io.EOF) && l.failing {
		l.k.complain("Close is told %v of a connection that failed", err)
	}
	var op *net.OpError
	if errors.As(err, &op) && l.s.errno == 0 && !l.s.broken && !l.s.fin {
		l.k.complain("Close is told of an error of the socket, which has none: %v", err)
	}
	now := l.k.now()
	switch {
	case l.ownTimes:
	case errors.Is(err, reactor.ErrIdleTimeout) && now < l.s.moved+int64(l.k.stream.IdleTimeout):
		l.k.complain("the idle timeout came after %v", time.Duration(now-l.s.moved))
	case errors.Is(err, reactor.ErrWriteTimeout) && now < l.s.room+int64(l.k.stream.WriteTimeout):
		l.k.complain("the write timeout came after %v", time.Duration(now-l.s.room))
	}
}

// descriptorClosed is called when the kernel's descriptor is closed.
func (l *life) descriptorClosed() {
	switch {
	case l.opened && !l.closed:
		l.k.complain("the descriptor of connection %d is closed before Close was called", l.id)
	case !l.opened && l.s.taken > 0:
		l.k.complain("%d bytes were sent for a connection that was refused", l.s.taken)
	case l.opened && l.s.destroyed && l.wasGraceful() && !l.lingered():
		l.k.complain("what the peer of connection %d has not read is destroyed, for %d bytes were left unread", l.id, l.s.arrived())
	}
}

// wasGraceful says whether the end was one at which the peer is to get everything.
func (l *life) wasGraceful() bool {
	switch l.fate {
	case nil, io.EOF, io.ErrUnexpectedEOF, errWhim:
		return !l.failing && !l.s.broken && !l.s.gone && !l.s.unix
	}
	return false
}

// lingered says whether enough was done for that: 64 KiB, 2 s of silence, 10 s in all, unless descriptors are short.
func (l *life) lingered() bool {
	now := l.k.now()
	return l.s.received-l.receivedThen >= 64<<10 || now >= max(l.closedAt, l.s.heard)+int64(2*time.Second) ||
		now >= l.closedAt+int64(10*time.Second) || l.k.short || l.k.aborting || l.s.faulted
}

// act does up to three things at random.
func (l *life) act(c *reactor.Conn) {
	for range l.k.upTo(4) {
		l.one(c)
	}
}

func (l *life) one(c *reactor.Conn) {
	k := l.k
	switch k.upTo(48) {
	case 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12:
		l.write(c)
	case 13:
		l.closing = l.closing || !l.closed
		_ = c.Close()
	case 14:
		if k.chance(2) {
			l.closing = true
			_ = c.CloseWithError(errWhim)
		}
	case 15:
		l.shut = true
		_ = c.CloseWrite()
	case 16:
		if k.chance(3) {
			l.deafened = true
			_ = c.CloseRead()
		}
	case 17:
		if k.chance(3) {
			l.failing = true
			c.Abort()
		}
	case 18, 19:
		l.pause(c)
	case 20, 21:
		l.paused = false
		c.Resume()
	case 22:
		l.resumes = append(l.resumes, c.Suspend())
	case 23, 24:
		l.resumeOne()
	case 25, 26:
		if len(l.releases) < 3 {
			l.releases = append(l.releases, c.Hold())
		}
	case 27, 28:
		l.setNeed(c)
	case 29, 30:
		if l.opened && !l.closed {
			l.need = 0
			c.SetHandler(l.newHandle())
		}
	case 31:
		if k.chance(3) && reactor.RunningID(k.r, l.loop) == l.id {
			k.counts.panics++
			l.failing = true
			panic(errWhim)
		}
	case 32:
		if k.chance(4) && reactor.RunningID(k.r, l.loop) == l.id {
			k.counts.goexits++
			l.failing = true
			runtime.Goexit()
		}
	case 33, 34, 35:
		if other := k.lives[k.upTo(len(k.lives))]; other != l && other.loop == l.loop && other.opened && !other.closed && !other.inside {
			other.one(other.c)
		}
	case 36, 37:
		l.startTimer(c)
	case 38:
		if k.chance(4) {
			l.ownTimes = true
			switch at := k.clock.Now().Add(time.Duration(k.upTo(5000)) * time.Millisecond); k.upTo(3) {
			case 0:
				_ = c.SetReadDeadline(at)
			case 1:
				_ = c.SetWriteDeadline(at)
			case 2:
				c.SetIdleTimeout(time.Duration(1+k.upTo(5000)) * time.Millisecond)
			}
		}
	}
}

func (l *life) startTimer(c *reactor.Conn) {
	d := time.Duration(l.k.upTo(1000)-100) * time.Millisecond
	due := l.k.now() + int64(d)
	if !l.closed {
		l.timers = append(l.timers, due)
	}
	c.AfterFunc(d, func(c *reactor.Conn) {
		defer l.enter(c, l.handle, "timer")()
		i := slices.Index(l.timers, due)
		l.timers = slices.Delete(l.timers, i, i+1)
		if l.k.now() < due {
			l.k.complain("a timer came %v early", time.Duration(due-l.k.now()))
		}
		l.act(c)
	})
}

func (l *life) pause(c *reactor.Conn) {
	l.paused = true
	c.Pause()
}

func (l *life) resumeOne() {
	if n := len(l.resumes); n > 0 {
		resume := l.resumes[n-1]
		l.resumes = l.resumes[:n-1]
		resume()
	}
}

func (l *life) setNeed(c *reactor.Conn) {
	l.need = l.k.upTo(200)
	if l.k.stream.MaxInput == 0 && l.k.chance(4) {
		l.need = l.k.upTo(200_000) // for which the buffer grows
	}
	c.Need(l.need)
}

// size is how long a record is to be.
func (k *simulation) size() int {
	switch k.upTo(12) {
	case 1:
		return 1 + k.upTo(6000)
	case 2:
		if k.chance(4) {
			return 1 + k.upTo(150_000)
		}
	}
	return 1 + k.upTo(300)
}

// encoder appends records.
type encoder struct {
	l    *life
	from source
}

func (e encoder) AppendFrame(dst, payload []byte) ([]byte, error) {
	return appendRecord(dst, e.l.s.serial, e.from, e.l.next[e.from], len(payload)), nil
}

// write writes a record in one of the ways there are.
func (l *life) write(c *reactor.Conn) {
	n := l.k.size()
	var err error
	switch l.k.upTo(4) {
	case 1:
		err = c.Send(encoder{l, fromLoop}, make([]byte, n))
	case 2:
		err = c.WriteShared(reactor.Shared(appendRecord(nil, l.s.serial, fromLoop, l.next[fromLoop], n)))
	default:
		l.k.scratch = appendRecord(l.k.scratch[:0], l.s.serial, fromLoop, l.next[fromLoop], n)
		_, err = c.Write(l.k.scratch)
	}
	l.wrote(fromLoop, n, err)
}

// writeElsewhere is write as any goroutine can.
func (l *life) writeElsewhere() {
	n := l.k.size()
	var err error
	switch l.k.upTo(4) {
	case 1:
		err = l.ref.Send(encoder{l, fromElsewhere}, make([]byte, n))
	case 2:
		err = l.ref.WriteShared(reactor.Shared(appendRecord(nil, l.s.serial, fromElsewhere, l.next[fromElsewhere], n)))
	default:
		l.k.posted = appendRecord(l.k.posted[:0], l.s.serial, fromElsewhere, l.next[fromElsewhere], n)
		_, err = l.ref.Write(l.k.posted)
	}
	l.wrote(fromElsewhere, n, err)
}

// wrote counts what was taken.
func (l *life) wrote(from source, n int, err error) {
	l.k.note("write", l.s.fd, n, int(from))
	var op *net.OpError
	switch {
	case err == nil:
		l.next[from] += n
		l.accepted += int64(n + recordHeader)
		if from == fromLoop {
			l.gathered += int64(n + recordHeader)
		}
		if from == fromLoop && (l.closing || l.failing || l.closed || l.shut) {
			l.k.complain("a write was taken by a connection that closes")
		}
	case errors.Is(err, reactor.ErrOverflow), errors.Is(err, net.ErrClosed), errors.Is(err, reactor.ErrWriteClosed):
	case errors.As(err, &op):
		l.failing = true
	case errors.Is(err, reactor.ErrMailboxFull) && from == fromElsewhere:
	default:
		l.k.complain("a write failed: %v", err)
	}
}

// elsewhere does what another goroutine might.
func (l *life) elsewhere() {
	k := l.k
	switch k.upTo(20) {
	case 1, 2, 3, 4, 5, 6, 7, 8:
		l.writeElsewhere()
	case 9:
		if k.chance(4) && l.ref.Close() == nil {
			l.closing = l.closing || false
		}
	case 10, 11, 12:
		l.do(func() { l.one(l.c) })
	case 13, 14, 15, 16:
		if n := len(l.releases); n > 0 {
			release := l.releases[n-1]
			l.releases = l.releases[:n-1]
			release()
		}
	default:
		l.do(l.resume)
	}
}

// resume ends every pause.
func (l *life) resume() {
	l.paused = false
	l.c.Resume()
	for len(l.resumes) > 0 {
		l.resumeOne()
	}
}

// do has fn called on the loop if the connection is still there.
func (l *life) do(fn func()) {
	k := l.k
	err := l.ref.Do(func(c *reactor.Conn, err error) {
		k.dosRun++
		if err == nil {
			defer l.enter(c, l.handle, "Do")()
			fn()
		} else if l.opened && !l.closed && !l.failing {
			k.complain("Do says %v of an open connection", err)
		}
	})
	if err == nil {
		k.dos++
	}
}
