// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package load

import (
	"bytes"
	"errors"

	"golang.org/x/sys/unix"
)

// ChurnConfig says what churn does.
type ChurnConfig struct {
	Endpoint Endpoint
	Conns    int     // at a time
	Rate     float64 // connections a second, 0 for the next when one has ended
	Tape     *Tape
	Threads  int
}

// churnSources is over how many addresses short connections are spread: their ports rest for a while after they were
// used.
const churnSources = 16

// Churn opens connections, makes one exchange on each and closes it, as long as the window lasts.
func Churn(c ChurnConfig, w *Window) (*Result, error) {
	n := max(min(c.Threads, c.Conns), 1)
	threads := make([]*churnThread, n)
	for i := range threads {
		target, err := newTarget(c.Endpoint) // each its own: connecting writes to the address
		if err != nil {
			return nil, err
		}
		th, err := newThread(i)
		if err != nil {
			return nil, err
		}
		defer th.poller.close()
		threads[i] = &churnThread{thread: th, target: target, tape: c.Tape, made: i, every: n}
		threads[i].conns = make([]churned, (c.Conns+n-1-i)/n)
	}
	others := newBarrier(n)
	inParallel(n, func(i int) { threads[i].run(w, others, c.Rate) })
	all := newResult()
	for _, t := range threads {
		all.add(t.result)
	}
	return all, nil
}

type churnThread struct {
	*thread
	target      *target
	tape        *Tape
	conns       []churned
	free        []int32
	due         int64
	made, every int // connections, counted so that the threads' sources differ
	plan        *schedule
}

// churned is a place for one connection at a time. received counts the bytes of its answer.
type churned struct {
	fd       int
	message  []byte
	asked    int64
	received int
	sent     bool
}

func (t *churnThread) run(w *Window, others *barrier, rate float64) {
	begin := func() { t.plan = newSchedule(rate, t.index, others.threads) }
	t.open(w, others, begin)
	begin()
	for i := range t.conns {
		t.free = append(t.free, int32(i))
	}
	for t.advance(&t.due); t.phase != over; t.advance(&t.due) {
		t.begin()
		until := t.next
		if t.plan != nil && t.asking() && len(t.free) > 0 {
			until = t.plan.next()
		}
		for _, e := range t.wait(until) {
			t.ready(e)
		}
	}
	for i := range t.conns {
		if c := &t.conns[i]; c.message != nil {
			t.end(int32(i))
			t.result.Missing(1, "a connection was not answered within %v", Patience)
		}
	}
}

// begin opens connections: as many as there are places for, or as many as are due. One that breaks at once gives its
// place back, which is for the next time: without a server there would be no end.
func (t *churnThread) begin() {
	for places := len(t.free); places > 0 && t.asking(); places-- {
		at := clock()
		if t.plan != nil {
			if t.plan.next() > at {
				return
			}
			if t.phase == measuring {
				observe(t.result.Late, at-t.plan.next())
			}
			at = t.plan.next()
			t.plan.request++
		}
		if !t.connect(at) {
			return
		}
	}
}

func (t *churnThread) connect(at int64) bool {
	k := t.made
	t.made += t.every
	fd, _, err := t.target.begin(k % churnSources * perSource)
	if err != nil {
		t.result.Missing(1, "a connection could not be made: %v", err)
		return false
	}
	slot := t.free[len(t.free)-1]
	c := &t.conns[slot]
	*c = churned{fd: fd, message: t.tape.message(int64(k)), asked: at}
	t.free = t.free[:len(t.free)-1]
	t.due++
	t.write(slot) // over loopback the connection is there by now
	if c.message != nil {
		if err := t.poller.add(fd, slot, !c.sent); err != nil {
			t.fail(slot, err)
		}
	}
	return true
}

func (t *churnThread) write(slot int32) {
	c := &t.conns[slot]
	n, err := send(c.fd, c.message)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOTCONN):
	case err != nil:
		t.fail(slot, err)
	case n < len(c.message):
		t.fail(slot, errors.New("a new connection did not take a whole message"))
	default:
		c.sent = true
	}
}

func (t *churnThread) ready(e event) {
	c := &t.conns[e.slot]
	if c.message == nil {
		return
	}
	if !c.sent {
		if err := socketError(c.fd); err != nil {
			t.fail(e.slot, err)
			return
		}
		if t.write(e.slot); c.sent {
			_ = t.poller.change(c.fd, e.slot, false)
		}
		return
	}
	if !e.read {
		return
	}
	n, err := receive(c.fd, t.buf)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
	case err != nil:
		t.fail(e.slot, err)
	case n == 0:
		t.fail(e.slot, errors.New("the server closed before it had answered"))
	case c.received+n > len(c.message) || !bytes.Equal(t.buf[:n], c.message[c.received:c.received+n]):
		t.result.Wrong(1, "an answer differs from what was sent")
		t.end(e.slot)
	default:
		if c.received += n; c.received == len(c.message) {
			t.end(e.slot)
			t.answered(c.asked, clock())
		}
	}
}

func (t *churnThread) fail(slot int32, err error) {
	t.end(slot)
	t.result.Missing(1, "a connection broke: %v", err)
}

func (t *churnThread) end(slot int32) {
	c := &t.conns[slot]
	t.poller.remove(c.fd, slot)
	unix.Close(c.fd)
	c.message = nil
	t.due--
	t.free = append(t.free, slot)
}
