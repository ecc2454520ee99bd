// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/reactor/offload"
)

// A kind is what client and handler of a trip do, and what may come of it.
type kind struct {
	name    string
	tight   bool // on the listener with small limits
	mayGo   bool // the client may be gone before the server has read anything
	handler func(tp *trip, c *reactor.Conn) reactor.Handler
	client  func(tp *trip, cl traveller)
	cause   func(tp *trip, err error) bool // whether Close may get err
	alone   func(tp *trip)                 // in place of all these
}

// errorIs allows one cause.
func errorIs(want error) func(*trip, error) bool {
	return func(_ *trip, err error) bool { return errors.Is(err, want) }
}

// cleanEnd allows io.EOF, as it is.
func cleanEnd(_ *trip, err error) bool { return err == io.EOF }

// noCause allows nil.
func noCause(_ *trip, err error) bool { return err == nil }

// sendAll sends the stream, ends its half and reads all of it back.
func sendAll(tp *trip, cl traveller) {
	defer alongside(func() {
		cl.write(tp.stream)
		_ = cl.CloseWrite()
	})()
	cl.expect(tp.stream)
}

// sendMore sends the stream and little more, and reads the beginning of it, up to cut, back.
func sendMore(tp *trip, cl traveller) {
	tp.stream = tp.stream[:min(len(tp.stream), tp.cut+32<<10)] // the rest is discarded, for which there is a limit
	defer alongside(func() {
		cl.write(tp.stream)
		_ = cl.CloseWrite()
	})()
	cl.expect(tp.stream[:tp.cut])
}

// sendAndWait sends the stream up to cut and reads until the connection ends, cleanly or not.
func sendAndWait(tp *trip, cl traveller) {
	defer alongside(func() { cl.write(tp.stream[:tp.cut]) })()
	_, _ = cl.read(tp.stream[:tp.cut])
}

var tripKinds = []*kind{
	{name: "echo", handler: fussy, client: sendAll, cause: cleanEnd},
	{name: "tight echo", tight: true, handler: fussy, client: sendAll, cause: cleanEnd},
	{name: "close", handler: closing, client: sendMore, cause: func(tp *trip, err error) bool { return err == tp.closeCause() }},
	{name: "close from elsewhere", handler: closedElsewhere, client: sendUntilClosed, cause: func(_ *trip, err error) bool {
		return err == nil || err == io.EOF || isGone(err) // the client may have gone first, or sent too much
	}},
	{name: "abort", handler: aborting, client: sendUntilReset, cause: errorIs(reactor.ErrAborted)},
	{name: "crash", handler: crashing, client: sendUntilReset, cause: crashed},
	{name: "reset", mayGo: true, handler: resettable, client: resets},
	{name: "tight reset", tight: true, mayGo: true, handler: resettable, client: resets},
	{name: "source", handler: streams, client: receives, cause: noCause},
	{name: "tight source", tight: true, handler: streams, client: receives, cause: noCause},
	{name: "source elsewhere", handler: sourceElsewhere, client: receives, cause: noCause},
	{name: "tight source elsewhere", tight: true, handler: sourceElsewhere, client: receives, cause: noCause},
	{name: "greedy", tight: true, handler: greedy, client: receivesSome, cause: noCause},
	{name: "held answer", handler: answering, client: sendAll, cause: cleanEnd},
	{name: "deaf", handler: deafened, client: receivesWhileSending, cause: func(tp *trip, err error) bool {
		if tp.way%2 == 0 {
			return err == nil
		}
		return err == io.EOF
	}},
	{name: "hoarder", tight: true, handler: hoarding, client: overfills, cause: errorIs(reactor.ErrInputLimit)},
	{name: "hijack", handler: hijacking, client: sendAll, cause: func(_ *trip, err error) bool { return err == reactor.ErrHijacked || err == io.EOF }},
	{name: "offload", handler: offloaded, client: sendAll, cause: cleanEnd},
	{name: "offloaded frames", handler: offloadedFrames, client: asks, cause: func(tp *trip, err error) bool {
		if tp.way%4 == 0 {
			return errors.Is(err, errStorm)
		}
		return err == io.EOF
	}},
	{name: "proxy", handler: proxying, client: sendAll, cause: noCause},
	{name: "tight proxy", tight: true, handler: proxying, client: sendAll, cause: noCause},
	{name: "member", handler: member, client: listens, cause: memberEnd},
	{name: "tight member", tight: true, handler: member, client: listens, cause: memberEnd},
	{name: "silent", handler: waiting, client: sendAndWait, cause: waited},
	{name: "stalled", tight: true, handler: stalling, client: takesNothing, cause: errorIs(reactor.ErrWriteTimeout)},
	{name: "dialled", alone: dialsItself},
	{name: "dial in vain", alone: dialsInVain},
	{name: "refused", alone: refused},
}

// may says yes once in n times. On the handler's loop.
func (tp *trip) may(n int) bool { return tp.dice.IntN(n) == 0 }

// moment is a short while.
func (tp *trip) moment() time.Duration { return time.Duration(tp.dice.IntN(3000)) * time.Microsecond }

// put writes p, which has to be taken.
func (tp *trip) put(c *reactor.Conn, p []byte) error {
	n, err := c.Write(p)
	if n != len(p) && (n != 0 || err == nil) {
		tp.errorf("Write took %d of %d bytes: %v", n, len(p), err)
	}
	tp.wrote.Add(int64(n))
	return err
}

// fussy echoes, and does all that changes nothing.
func fussy(tp *trip, _ *reactor.Conn) reactor.Handler {
	return &hooks{
		data: func(c *reactor.Conn, in []byte) (int, error) {
			n := len(in)
			switch {
			case len(in) > 8<<10: // leave less than MaxInput
				n -= tp.dice.IntN(1 << 10)
			case tp.may(4):
				n = tp.dice.IntN(n + 1)
			}
			if tp.may(8) {
				c.Need(1 + tp.dice.IntN(2<<10))
			}
			if err := tp.put(c, in[:n]); err != nil {
				return 0, err
			}
			tp.fuss(c)
			return n, nil
		},
		eof: func(c *reactor.Conn, rest []byte) error {
			if err := tp.put(c, rest); err != nil {
				return err
			}
			tp.fuss(c)
			return io.EOF
		},
		writable: func(*reactor.Conn) {},
	}
}

// fuss does something, now and then, that the peer does not see.
func (tp *trip) fuss(c *reactor.Conn) {
	if !tp.may(2) {
		return
	}
	ref, after := c.Ref(), tp.moment()
	what := tp.dice.IntN(10)
	switch what {
	case 0:
		c.Pause()
		tp.later(after, func() { _ = ref.Do(func(c *reactor.Conn, _ error) { c.Resume() }) })
	case 1:
		c.Pause()
		c.Resume()
	case 2:
		resume := c.Suspend()
		tp.later(after, func() { _ = ref.Do(func(*reactor.Conn, error) { resume() }) })
	case 3:
		release := c.Hold()
		tp.later(after, release)
	case 4:
		c.Pause()
		c.AfterFunc(after, func(c *reactor.Conn) { c.Resume() })
	case 5:
		c.AfterFunc(after, func(*reactor.Conn) { tp.count("timer") })
	case 6:
		_ = c.SetDeadline(time.Now().Add(patience))
	case 7:
		_ = c.SetDeadline(time.Time{})
		c.SetIdleTimeout(patience)
	case 8:
		if c.Context().Err() != nil && !tp.kind.mayGo { // a Write may just have met the peer's reset
			tp.errorf("the context of an open connection is done")
		}
	case 9:
		if err := tp.group.Add(c); err != nil {
			tp.errorf("Add: %v", err)
		}
		tp.group.Remove(c)
	}
	tp.count(fmt.Sprintf("fuss %d", what))
}

// upTo echoes up to cut, then does something else. It is one way to be a handler that must not get more.
func (tp *trip) upTo(then func(c *reactor.Conn) error) *hooks {
	got := 0
	return &hooks{
		data: func(c *reactor.Conn, in []byte) (int, error) {
			n := min(len(in), tp.cut-got)
			got += n
			if err := tp.put(c, in[:n]); err != nil {
				return 0, err
			}
			if got < tp.cut {
				return n, nil
			}
			return n, then(c)
		},
		eof: func(c *reactor.Conn, _ []byte) error {
			if got < tp.cut && !tp.stopping.Load() {
				tp.errorf("EOF after %d bytes", got)
			}
			return then(c) // nothing came after the beginning
		},
	}
}

func (tp *trip) closeCause() error {
	switch tp.way % 4 {
	case 0:
		return errStorm
	case 1:
		return io.ErrShortBuffer
	}
	return nil
}

// closing closes with the bytes up to cut written.
func closing(tp *trip, _ *reactor.Conn) reactor.Handler {
	return tp.upTo(func(c *reactor.Conn) error {
		cause := tp.closeCause()
		if tp.way%4 == 0 {
			return cause
		}
		if err := c.CloseWithError(cause); err != nil {
			tp.errorf("Close: %v", err)
		}
		if _, err := c.Write([]byte("late")); !errors.Is(err, net.ErrClosed) {
			tp.errorf("Write after Close: %v", err)
		}
		return nil
	})
}

// closedElsewhere echoes until somebody asks for the end.
func closedElsewhere(tp *trip, c *reactor.Conn) reactor.Handler {
	id, after := c.ID(), tp.moment()
	tp.later(after, func() {
		if ref, ok := tp.ByID(id); ok {
			_ = ref.Close()
		}
	})
	return fussy(tp, c)
}

// sendUntilClosed sends and reads until the end. What was echoed has all come if that is clean.
func sendUntilClosed(tp *trip, cl traveller) {
	var reset error // for sending more than a connection that lingers takes; Linux tells it once, here or to who reads
	wait := alongside(func() {
		reset = cl.write(tp.stream)
		_ = cl.CloseWrite()
	})
	n, err := cl.read(tp.stream)
	wait()
	if wrote := tp.wrote.Load(); err == nil && reset == nil && int64(n) != wrote && !tp.stopping.Load() {
		tp.errorf("%d bytes came, %d were written", n, wrote)
	}
}

func aborting(tp *trip, _ *reactor.Conn) reactor.Handler {
	return tp.upTo(func(c *reactor.Conn) error {
		c.Abort()
		return nil
	})
}

// crashing panics, or ends its goroutine, in one of all places.
func crashing(tp *trip, c *reactor.Conn) reactor.Handler {
	crash := func(*reactor.Conn) {
		if tp.way%2 == 0 {
			panic(errStorm)
		}
		runtime.Goexit()
	}
	h := tp.upTo(func(c *reactor.Conn) error {
		switch ref := c.Ref(); tp.way / 2 % 5 {
		case 0:
			crash(c)
		case 1:
			_ = ref.Do(func(c *reactor.Conn, _ error) { crash(c) })
		case 2:
			c.AfterFunc(0, crash)
		case 3: // in Writable
			for n := 0; !c.Blocked() && n < maxFilling; n += 16 << 10 {
				_, _ = c.Write(make([]byte, 16<<10))
			}
			if !c.Blocked() { // the client is quick
				crash(c)
			}
		case 4: // in Close
			c.Abort()
		}
		return nil
	})
	switch tp.way / 2 % 5 {
	case 3:
		h.writable = crash
	case 4:
		h.close = func(c *reactor.Conn, _ error) { crash(c) }
	}
	return h
}

// maxFilling is how much it takes at most to have a Writable.
const maxFilling = 2 << 20

func crashed(tp *trip, err error) bool {
	var crash *reactor.PanicError
	switch {
	case tp.way/2%5 == 4:
		return errors.Is(err, reactor.ErrAborted)
	case tp.way%2 == 0:
		return errors.As(err, &crash) && errors.Is(err, errStorm)
	}
	return errors.As(err, &crash) && errors.Is(err, reactor.ErrGoexit)
}

// sendUntilReset sends without an end and reads until the connection ends.
func sendUntilReset(tp *trip, cl traveller) {
	defer alongside(func() { cl.write(tp.stream) })()
	want := tp.stream[:tp.cut]
	if tp.kind.name == "crash" && tp.way/2%5 == 3 {
		want = append(bytes.Clone(want), make([]byte, maxFilling)...)
	}
	_, _ = cl.read(want)
}

// resettable echoes to a client that may go at any time.
func resettable(tp *trip, c *reactor.Conn) reactor.Handler {
	h := fussy(tp, c).(*hooks)
	h.close = func(_ *reactor.Conn, err error) {
		if err != io.EOF && !isGone(err) && !errors.Is(err, net.ErrClosed) && !tp.stopping.Load() {
			tp.errorf("Close got %v", err)
		}
	}
	return h
}

func resets(tp *trip, cl traveller) {
	wait := alongside(func() { cl.write(tp.stream[:tp.cut]) })
	if tp.way%2 == 0 {
		_ = cl.SetReadDeadline(time.Now().Add(time.Duration(tp.rnd.IntN(5)) * time.Millisecond))
		_, _ = io.CopyN(io.Discard, cl, int64(tp.rnd.IntN(tp.cut+1)))
	}
	if tcp, ok := cl.halfCloser.(*net.TCPConn); ok && tp.way%3 > 0 {
		_ = tcp.SetLinger(0)
	}
	_ = cl.Close()
	wait()
}

// streams writes the stream as the client takes it, then closes.
func streams(tp *trip, c *reactor.Conn) reactor.Handler {
	at := 0
	more := func(c *reactor.Conn) {
		for at < len(tp.stream) && !c.Blocked() {
			p := tp.stream[at:min(len(tp.stream), at+1+tp.dice.IntN(1<<tp.dice.IntN(16)))]
			var err error
			if tp.may(2) {
				err = c.WriteShared(reactor.Shared(p))
			} else {
				_, err = c.Write(p)
			}
			switch {
			case err != nil && !tp.stopping.Load():
				tp.errorf("written %d: %v, %d unsent", at, err, c.Unsent())
				c.Abort()
				return
			case err != nil:
				return
			}
			at += len(p)
		}
		if at == len(tp.stream) {
			_ = c.Close()
		}
	}
	more(c)
	return &hooks{writable: more}
}

// sourceElsewhere writes it from another goroutine.
func sourceElsewhere(tp *trip, c *reactor.Conn) reactor.Handler {
	ref, release := c.Ref(), c.Hold()
	tp.later(0, func() {
		defer release()
		for p := tp.stream; len(p) > 0; {
			n := min(len(p), 1+tp.rand(1<<tp.rand(16)))
			var err error
			if tp.rand(2) == 0 {
				err = ref.WriteShared(reactor.Shared(p[:n]))
			} else {
				_, err = ref.Write(p[:n])
			}
			switch {
			case errors.Is(err, reactor.ErrOverflow) || errors.Is(err, reactor.ErrMailboxFull):
				time.Sleep(time.Millisecond)
			case err != nil:
				if !tp.stopping.Load() {
					tp.errorf("Ref.Write: %v", err)
				}
				return
			default:
				p = p[n:]
			}
		}
		for err := ref.Close(); errors.Is(err, reactor.ErrMailboxFull); err = ref.Close() {
			time.Sleep(time.Millisecond)
		}
	})
	return &hooks{}
}

// rand is for goroutines beside the client's and the handler's.
func (tp *trip) rand(n int) int { return int(randomBits.Add(0x9e3779b97f4a7c15)>>33) % n }

var randomBits atomic.Uint64

func receives(tp *trip, cl traveller) { cl.expect(tp.stream) }

// greedy writes until the limit, and what was taken has to arrive.
func greedy(tp *trip, c *reactor.Conn) reactor.Handler {
	total := 0
	// Not smaller: to a quick client it would be a hundred thousand Writes, which hold the loop for seconds under the
	// race detector. Shutdown would be right to call it stuck.
	for size := 1 << (8 + tp.way%8); ; {
		p := morePattern()[total : total+size]
		var err error
		if tp.may(2) {
			err = c.WriteShared(reactor.Shared(p))
		} else {
			_, err = c.Write(p)
		}
		if err != nil {
			if !errors.Is(err, reactor.ErrOverflow) && !tp.stopping.Load() {
				tp.errorf("Write: %v", err)
			}
			break
		}
		if total += size; total > 2<<20 {
			break // the client is quick
		}
	}
	tp.wrote.Store(int64(total))
	_ = c.Close()
	return &hooks{}
}

func receivesSome(tp *trip, cl traveller) {
	n, err := cl.read(morePattern())
	if wrote := tp.wrote.Load(); (err != nil || int64(n) != wrote) && !tp.stopping.Load() {
		tp.errorf("%d of %d bytes came: %v", n, wrote, err)
	}
}

// answering says nothing until the client has, then answers from elsewhere.
func answering(tp *trip, _ *reactor.Conn) reactor.Handler {
	return &hooks{eof: func(c *reactor.Conn, _ []byte) error {
		ref, release := c.Ref(), c.Hold()
		tp.later(tp.moment(), func() {
			defer release()
			message := reactor.Shared(tp.stream[tp.cut:])
			for _, write := range []func() error{
				func() error { _, err := ref.Write(tp.stream[:tp.cut]); return err },
				func() error { return ref.WriteShared(message) },
			} {
				if err := write(); err != nil && !tp.stopping.Load() {
					tp.errorf("Ref.Write: %v", err)
				}
			}
		})
		return io.EOF
	}}
}

// deafened reads no more and writes the stream, in two halves.
func deafened(tp *trip, c *reactor.Conn) reactor.Handler {
	if err := c.CloseRead(); err != nil {
		tp.errorf("CloseRead: %v", err)
	}
	_ = tp.put(c, tp.stream[:tp.cut])
	c.AfterFunc(tp.moment(), func(c *reactor.Conn) {
		_ = tp.put(c, tp.stream[tp.cut:])
		if tp.way%2 == 0 {
			_ = c.Close()
		} else {
			_ = c.CloseWrite()
		}
	})
	unheard := func() {
		if !tp.stopping.Load() {
			tp.errorf("input after CloseRead")
		}
	}
	return &hooks{
		data: func(_ *reactor.Conn, in []byte) (int, error) { unheard(); return len(in), nil },
		eof:  func(*reactor.Conn, []byte) error { unheard(); return nil },
	}
}

func receivesWhileSending(tp *trip, cl traveller) {
	defer alongside(func() {
		cl.write(tp.stream[:min(len(tp.stream), 32<<10)])
		_ = cl.CloseWrite()
	})()
	cl.expect(tp.stream)
}

// hoarding consumes nothing.
func hoarding(*trip, *reactor.Conn) reactor.Handler {
	return &hooks{
		data: func(*reactor.Conn, []byte) (int, error) { return 0, nil },
		eof:  func(*reactor.Conn, []byte) error { return errStorm },
	}
}

func overfills(tp *trip, cl traveller) {
	defer alongside(func() { cl.write(morePattern()[:64<<10]) })()
	_, _ = cl.read(nil)
}

// hijacking echoes up to cut and has another goroutine go on, unless output waits.
func hijacking(tp *trip, c *reactor.Conn) reactor.Handler {
	inner := fussy(tp, c).(*hooks)
	got := 0
	return &hooks{
		data: func(c *reactor.Conn, in []byte) (int, error) {
			n := min(len(in), tp.cut-got)
			if got < 0 || n < 0 {
				return inner.data(c, in)
			}
			got += n
			if err := tp.put(c, in[:n]); err != nil || got < tp.cut {
				return n, err
			}
			got = -1 // the moment has come
			conn, rest, err := c.Hijack()
			switch {
			case errors.Is(err, reactor.ErrUnsent):
				tp.count("hijack: unsent")
			case err != nil:
				return n, err
			default:
				tp.count("hijack")
				tp.later(tp.moment(), func() {
					defer conn.Close()
					_ = conn.SetDeadline(time.Now().Add(patience))
					_, _ = conn.Write(rest[n:])
					_, _ = io.Copy(struct{ io.Writer }{conn}, struct{ io.Reader }{conn}) // no splice(2), whose pipes Go keeps
				})
			}
			return n, nil
		},
		eof: inner.eof,
	}
}

// offloaded echoes by way of the pool.
func offloaded(tp *trip, _ *reactor.Conn) reactor.Handler {
	return &hooks{
		data: func(c *reactor.Conn, in []byte) (consumed int, err error) {
			for consumed < len(in) {
				piece := bytes.Clone(in[consumed:min(len(in), consumed+1+tp.dice.IntN(8<<10))])
				err := offload.Do(tp.pool, c, func(context.Context) ([]byte, error) {
					runtime.Gosched()
					return piece, nil
				}, func(c *reactor.Conn, p []byte, err error) {
					tp.count("offload")
					if err == nil {
						err = tp.put(c, p)
					}
					if err != nil && !tp.stopping.Load() {
						tp.errorf("offload: %v", err)
					}
				})
				if errors.Is(err, offload.ErrQueueFull) {
					return consumed, nil
				} else if err != nil {
					return consumed, err
				}
				consumed += len(piece)
			}
			return consumed, nil
		},
		eof: func(_ *reactor.Conn, rest []byte) error {
			if len(rest) > 0 && !tp.stopping.Load() {
				tp.errorf("%d bytes were left", len(rest))
			}
			return io.EOF
		},
	}
}

// lines is the codec of the offloaded frames.
var stormLines = codec.Line(1 << 10)

// An offloader answers lines, on workers.
type offloader struct{ *trip }

func (o offloader) Frame(_ context.Context, _ reactor.Ref, line []byte) ([]byte, error) {
	if o.way%4 == 0 && string(line) == fmt.Sprint(o.asked()-1) {
		panic(errStorm)
	}
	if o.rand(4) == 0 {
		time.Sleep(time.Millisecond)
	}
	o.count("offloaded frame")
	return append(line, '!'), nil
}

func (o offloader) Close(_ *reactor.Conn, err error) { o.over(err) }

// asked is how many lines are sent.
func (tp *trip) asked() int { return 1 + tp.cut%100 }

func offloadedFrames(tp *trip, _ *reactor.Conn) reactor.Handler {
	return offload.Frames(tp.pool, stormLines, stormLines, offloader{tp})
}

func asks(tp *trip, cl traveller) {
	var questions, answers strings.Builder
	for i := range tp.asked() {
		fmt.Fprintf(&questions, "%d\n", i)
		if tp.way%4 != 0 || i < tp.asked()-1 {
			fmt.Fprintf(&answers, "%d!\n", i)
		}
	}
	defer alongside(func() {
		cl.write([]byte(questions.String()))
		_ = cl.CloseWrite()
	})()
	cl.expect([]byte(answers.String()))
}

// proxying passes everything on to the mirror, and back.
func proxying(tp *trip, c *reactor.Conn) reactor.Handler {
	var up *reactor.Conn
	c.Pause()
	connected := func(conn *reactor.Conn, err error) (reactor.Handler, error) {
		tp.told.Add(1)
		tp.count("connect func")
		if err != nil {
			if !tp.stopping.Load() {
				tp.errorf("Dial: %v", err)
			}
			c.Abort()
			return nil, err
		}
		up = conn
		c.Resume()
		return tp.attend(&hooks{
			data: func(_ *reactor.Conn, in []byte) (int, error) {
				err := tp.put(c, in)
				if c.Blocked() {
					up.Pause()
				}
				return len(in), err
			},
			eof:      func(*reactor.Conn, []byte) error { _ = c.Close(); return io.EOF },
			writable: func(*reactor.Conn) { c.Resume() },
			close: func(_ *reactor.Conn, err error) {
				tp.gone(err)
				if err != io.EOF && !tp.stopping.Load() {
					tp.errorf("Close of the other connection got %v", err)
				}
				if err != io.EOF {
					c.Abort()
				}
			},
		}), nil
	}
	tp.dials.Add(1)
	a := tp.mirror.Addr()
	dial := func() error { return c.Dial(context.Background(), a.Network(), a.String(), connected, nil) }
	if err := dial(); err != nil {
		tp.dials.Add(-1)
		if !tp.stopping.Load() {
			tp.errorf("Dial: %v", err)
		}
		c.Abort()
	}
	return &hooks{
		data: func(c *reactor.Conn, in []byte) (int, error) {
			_, err := up.Write(in)
			if up.Blocked() {
				c.Pause()
			}
			return len(in), err
		},
		eof: func(*reactor.Conn, []byte) error {
			if up != nil {
				return up.CloseWrite()
			}
			return nil
		},
		writable: func(*reactor.Conn) {
			if up != nil {
				up.Resume()
			}
		},
		close: func(_ *reactor.Conn, err error) {
			if err != nil && up != nil {
				up.Abort()
			}
		},
	}
}

// stormMessage is the size of the group's messages: a number, and what follows from it.
const stormMessage = 1000

// broadcast writes to the group until it is told to stop.
func (st *storm) broadcast(stop <-chan struct{}) {
	for number := uint64(0); ; number++ {
		select {
		case <-stop:
			return
		case <-time.After(200 * time.Microsecond):
		}
		p := make([]byte, stormMessage)
		copy(p, morePattern()[number%1000:])
		binary.BigEndian.PutUint64(p, number)
		if err := st.group.Write(reactor.Shared(p), st.miss); err != nil {
			st.t.Errorf("Group.Write: %v", err)
		}
	}
}

// miss is called for members that are too slow.
func (st *storm) miss(c *reactor.Conn) {
	st.count("missed")
	tp, ok := st.members.Load(c.ID())
	if !ok {
		return // it only came for a moment
	}
	tp.(*trip).missed.Add(1)
	if tp.(*trip).way%2 == 0 {
		c.Abort()
	}
}

func member(tp *trip, c *reactor.Conn) reactor.Handler {
	id := c.ID()
	tp.members.Store(id, tp)
	if err := tp.group.Add(c); err != nil {
		tp.errorf("Add: %v", err)
	}
	// Who reads more slowly than the group writes is always blocked, and then the client's end is not heard.
	c.AfterFunc(10*tp.moment(), tp.group.Remove)
	return &hooks{close: func(*reactor.Conn, error) { tp.members.Delete(id) }}
}

// listens reads messages to the end, some time after it has ended its own half.
func listens(tp *trip, cl traveller) {
	after := time.Duration(tp.rnd.IntN(20)) * time.Millisecond
	defer alongside(func() {
		time.Sleep(after)
		_ = cl.CloseWrite()
	})()
	p := make([]byte, stormMessage)
	last, gaps := uint64(0), uint64(0)
	for n := 0; ; n++ {
		_, err := io.ReadFull(cl, p)
		if err == io.EOF {
			break
		}
		if err != nil {
			if (tp.missed.Load() == 0 || tp.way%2 == 1) && !tp.stopping.Load() {
				tp.errorf("after %d messages: %v", n, err)
			}
			return
		}
		number := binary.BigEndian.Uint64(p)
		if !bytes.Equal(p[8:], morePattern()[number%1000+8:number%1000+stormMessage]) || n > 0 && number <= last {
			tp.errorf("message %d follows %d", number, last)
			return
		}
		if n > 0 && number != last+1 {
			gaps = number
		}
		last = number
		if tp.way%3 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	if gaps > 0 && tp.missed.Load() == 0 && !tp.stopping.Load() {
		tp.errorf("a message is missing before %d", gaps)
	}
}

func memberEnd(tp *trip, err error) bool {
	return err == io.EOF || tp.missed.Load() > 0 && tp.way%2 == 0 && errors.Is(err, reactor.ErrAborted)
}

// waiting echoes up to cut and then waits for what does not come.
func waiting(tp *trip, c *reactor.Conn) reactor.Handler {
	limit := 5 * time.Millisecond
	then := func(c *reactor.Conn) error {
		switch tp.way % 4 {
		case 0:
			return c.SetReadDeadline(time.Now().Add(limit))
		case 1:
			c.SetIdleTimeout(limit)
		case 2:
			c.AfterFunc(limit, (*reactor.Conn).Abort)
		case 3:
			return c.SetReadDeadline(time.Now().Add(-limit))
		}
		return nil
	}
	if tp.cut == 0 {
		_ = then(c)
	}
	return tp.upTo(then)
}

func waited(tp *trip, err error) bool {
	want := [...]error{reactor.ErrReadTimeout, reactor.ErrIdleTimeout, reactor.ErrAborted, reactor.ErrReadTimeout}
	return errors.Is(err, want[tp.way%4])
}

// stalling writes to a client that takes nothing.
func stalling(tp *trip, c *reactor.Conn) reactor.Handler {
	_ = c.SetWriteDeadline(time.Now().Add(5 * time.Millisecond))
	fill := func(c *reactor.Conn) {
		for !c.Blocked() {
			_, _ = c.Write(make([]byte, 8<<10))
		}
	}
	fill(c)
	return &hooks{writable: fill} // the kernel's buffers may have grown
}

func takesNothing(tp *trip, cl traveller) {
	if err, ended := tp.await(tp.ends); ended {
		tp.ends <- err
	}
	_, _ = io.Copy(io.Discard, cl)
}

// dialsItself is a trip whose client is a connection of the reactor, too.
func dialsItself(tp *trip) {
	tp.kind = &kind{name: "dialled", handler: fussy}
	sent, got := 0, 0
	ends := make(chan error, 2)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	more := func(c *reactor.Conn) {
		for sent < len(tp.stream) && !c.Blocked() {
			n, err := c.Write(tp.stream[sent:min(len(tp.stream), sent+1+tp.rnd.IntN(1<<15))])
			if sent += n; err != nil {
				return
			}
		}
		if sent == len(tp.stream) {
			_ = c.CloseWrite()
		}
	}
	h := &hooks{
		data: func(_ *reactor.Conn, in []byte) (int, error) {
			if got+len(in) > len(tp.stream) || !bytes.Equal(in, tp.stream[got:got+len(in)]) {
				tp.errorf("after %d bytes come %d that were not sent", got, len(in))
			}
			got += len(in)
			return len(in), nil
		},
		writable: more,
		close: func(_ *reactor.Conn, err error) {
			tp.gone(err)
			if (err != io.EOF || got != len(tp.stream)) && !tp.stopping.Load() {
				tp.errorf("Close of the client got %v after %d bytes", err, got)
			}
			ends <- err
		},
	}
	tp.dials.Add(1)
	a := tp.plain.Addr()
	err := tp.Dial(ctx, a.Network(), a.String(), func(c *reactor.Conn, err error) (reactor.Handler, error) {
		tp.told.Add(1)
		tp.count("connect func")
		if err != nil {
			if !errors.Is(err, context.Canceled) && !tp.stopping.Load() {
				tp.errorf("Dial: %v", err)
			}
			ends <- err
			return nil, err
		}
		_, _ = c.Write(binary.BigEndian.AppendUint64(nil, tp.number))
		more(c)
		return tp.attend(h), nil
	}, &reactor.DialOptions{Stream: &reactor.StreamOptions{HighWater: 1 << 20}}) // else both ends may wait for the other to read
	if err != nil {
		tp.dials.Add(-1)
		if !tp.stopping.Load() {
			tp.errorf("Dial: %v", err)
		}
		return
	}
	if tp.way%4 == 0 {
		cancel()
	}
	_, _ = tp.await(ends)
	if len(tp.ref) > 0 {
		_, _ = tp.await(tp.ends)
	}
}

// dialsInVain dials where nobody listens.
func dialsInVain(tp *trip) {
	network, address, want := "unix", socketPathOf(tp.plain)+"-not", syscall.ENOENT
	if tp.tr.network == "tcp" {
		network, address, want = "tcp", "127.0.0.1:1", syscall.ECONNREFUSED
	}
	told := make(chan error, 2)
	tp.dials.Add(1)
	err := tp.Dial(context.Background(), network, address, func(_ *reactor.Conn, err error) (reactor.Handler, error) {
		tp.told.Add(1)
		tp.count("connect func")
		told <- err
		switch tp.way % 3 {
		case 0:
			panic(errStorm)
		case 1:
			runtime.Goexit()
		}
		return nil, nil
	}, nil)
	if err != nil {
		tp.dials.Add(-1)
		if !tp.stopping.Load() {
			tp.errorf("Dial: %v", err)
		}
		return
	}
	if err, ended := tp.await(told); ended && !errors.Is(err, want) && !tp.stopping.Load() {
		tp.errorf("Dial: %v", err)
	}
}

func socketPathOf(lis *reactor.Listener) string { return lis.Addr().String() }

// refuse is an accept func that refuses in all ways, with a greeting that nobody hears.
func (st *storm) refuse(c *reactor.Conn) (reactor.Handler, error) {
	st.count("refuse")
	_, _ = c.Write(make([]byte, 100<<10))
	_ = st.group.Add(c)
	c.AfterFunc(0, func(*reactor.Conn) { st.t.Errorf("a timer of a refused connection") })
	c.Hold()
	switch c.ID() >> 24 % 4 {
	case 0:
		panic(errStorm)
	case 1:
		runtime.Goexit()
	case 2:
		return nil, nil
	}
	return nil, errStorm
}

func refused(tp *trip) {
	cl, ok := tp.dial(tp.refusing.Addr())
	if !ok {
		return
	}
	defer cl.Close()
	if n, _ := cl.read(nil); n > 0 {
		tp.errorf("%d bytes came", n)
	}
}
