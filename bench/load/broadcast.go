// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package load

import (
	"bytes"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// BroadcastConfig says what a broadcast does.
type BroadcastConfig struct {
	Endpoint Endpoint
	Conns    int // subscribers; the first also publishes
	Depth    int // published and not yet with everyone
	Rate     float64
	Tape     *Tape
}

// Broadcast has every connection receive what the first sends. A message of its result is one delivery. One thread does
// it all, for every delivery belongs to the same sequence.
type Broadcast struct {
	*thread
	config    BroadcastConfig
	conns     []*subscriber
	published int64
	sent      int64 // bytes, of the publisher
	asked     times // of the messages that not everyone has; the first is number oldest
	left      []int // how many still want each
	oldest    int64
	due       int64 // deliveries
	blocked   bool
}

// A subscriber takes part from the first message that it received; received is a position on the tape. Until joined it
// is unknown.
type subscriber struct {
	fd       int
	received int64
	joined   bool
	broken   bool
	head     []byte // of the first message
}

// joinTime bounds how long the server may take until everyone receives.
const joinTime = 10 * time.Second

// DialBroadcast connects and publishes until every connection has received something: connected does not mean accepted.
func DialBroadcast(c BroadcastConfig) (*Broadcast, error) {
	t, err := newTarget(c.Endpoint)
	if err != nil {
		return nil, err
	}
	th, err := newThread(0)
	if err != nil {
		return nil, err
	}
	b := &Broadcast{thread: th, config: c}
	for i := range c.Conns {
		fd, err := t.connect(i)
		if err == nil {
			b.conns = append(b.conns, &subscriber{fd: fd})
			err = th.poller.add(fd, int32(i), false)
		}
		if err != nil {
			b.Close()
			return nil, fmt.Errorf("connection %d of %d to %s: %w", i+1, c.Conns, c.Endpoint, err)
		}
	}
	if err := b.join(); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// Close closes the connections.
func (b *Broadcast) Close() {
	for i, s := range b.conns {
		if !s.broken {
			b.poller.remove(s.fd, int32(i))
			unix.Close(s.fd)
		}
	}
	b.poller.close()
}

func (b *Broadcast) join() error {
	b.open(&Window{Warmup: joinTime}, nil, nil)
	const again = 20 * int64(time.Millisecond)
	next := int64(0)
	for deadline := b.next; ; {
		if clock() >= deadline || b.result.Errors+b.result.Mismatches > 0 {
			joined := 0
			for _, s := range b.conns {
				if s.joined {
					joined++
				}
			}
			return fmt.Errorf("%d of %d connections receive what one sends: %v", joined, len(b.conns), b.result.Failures)
		}
		all, level := true, true
		for _, s := range b.conns {
			all = all && s.joined
			level = level && s.received == b.published*int64(b.config.Tape.Size)
		}
		if all && level {
			b.oldest = b.published
			return nil
		}
		if !all && clock() >= next { // the join messages are not counted as deliveries
			b.published++
			b.flush()
			next = clock() + again
		}
		for _, e := range b.wait(min(deadline, max(next, clock()+again))) {
			b.ready(e, b.joining)
		}
	}
}

// joining handles what arrives before the measurement: the first message tells from where a connection takes part.
func (b *Broadcast) joining(s *subscriber, got []byte) {
	if !s.joined {
		s.head = append(s.head, got...)
		size := b.config.Tape.Size
		if len(s.head) < size {
			return
		}
		for k := range b.published {
			if bytes.Equal(s.head[:size], b.config.Tape.message(k)) {
				s.joined, s.received = true, k*int64(size)
				break
			}
		}
		if !s.joined {
			b.result.Wrong(1, "a connection's first message was not published")
			return
		}
		got, s.head = s.head, nil
	}
	b.check(s, got)
}

func (b *Broadcast) check(s *subscriber, got []byte) {
	for len(got) > 0 {
		n := min(len(got), readSize)
		if !bytes.Equal(got[:n], b.config.Tape.from(s.received, n)) {
			b.result.Wrong(b.config.Tape.wrong(s.received, got[:n]), "a delivery differs from what was published")
		}
		s.received += int64(n)
		got = got[n:]
	}
}

// Run measures over a window.
func (b *Broadcast) Run(w *Window) *Result {
	inParallel(1, func(int) { b.run(w) })
	return b.result
}

func (b *Broadcast) run(w *Window) {
	var plan *schedule
	begin := func() { plan = newSchedule(b.config.Rate, 0, 1) }
	b.open(w, newBarrier(1), begin)
	begin()
	for b.advance(&b.due); b.phase != over; b.advance(&b.due) {
		until := b.next
		if plan != nil && b.asking() {
			for ; plan.next() <= clock(); plan.request++ {
				if b.phase == measuring {
					observe(b.result.Late, clock()-plan.next())
				}
				b.publish(plan.next())
			}
			until = plan.next()
		}
		for plan == nil && b.asking() && b.asked.len() < int64(b.config.Depth) {
			b.publish(clock())
		}
		for _, e := range b.wait(until) {
			b.ready(e, b.delivered)
		}
	}
	if b.due > 0 {
		b.result.Missing(b.due, "%d deliveries had not come %v after the last message", b.due, Patience)
	}
}

func (b *Broadcast) publish(at int64) {
	b.asked.push(at)
	want := 0
	for _, s := range b.conns {
		if !s.broken {
			want++
		}
	}
	b.left = append(b.left, want)
	b.due += int64(want)
	b.published++
	b.flush()
}

func (b *Broadcast) flush() {
	first := b.conns[0]
	tape := b.config.Tape
	for wanted := b.published * int64(tape.Size); b.sent < wanted && !first.broken; {
		n, err := send(first.fd, tape.from(b.sent, int(min(wanted-b.sent, tape.ahead()))))
		b.sent += int64(n)
		if err == unix.EAGAIN {
			break
		}
		if err != nil {
			b.broke(first, 0, err)
			return
		}
	}
	if blocked := b.sent < b.published*int64(tape.Size); blocked != b.blocked {
		b.blocked = blocked
		_ = b.poller.change(first.fd, 0, blocked)
	}
}

func (b *Broadcast) ready(e event, arrived func(*subscriber, []byte)) {
	s := b.conns[e.slot]
	if s.broken {
		return
	}
	if e.write && e.slot == 0 {
		b.flush()
	}
	if !e.read || s.broken {
		return
	}
	n, err := receive(s.fd, b.buf)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
	case err != nil:
		b.broke(s, e.slot, err)
	case n == 0:
		b.broke(s, e.slot, fmt.Errorf("the server closed it"))
	case s.joined && s.received+int64(n) > b.published*int64(b.config.Tape.Size):
		b.result.Wrong(1, "more was delivered than was published")
		b.broke(s, e.slot, fmt.Errorf("it is of no use any more"))
	default:
		arrived(s, b.buf[:n])
	}
}

// delivered handles what arrives while measuring.
func (b *Broadcast) delivered(s *subscriber, got []byte) {
	size := int64(b.config.Tape.Size)
	before := s.received / size
	b.check(s, got)
	now := clock()
	for k := before; k < s.received/size; k++ {
		i := k - b.oldest
		b.answered(b.asked.at(i), now)
		b.left[i]--
		b.due--
	}
	b.settle()
}

// settle forgets the messages that everyone has.
func (b *Broadcast) settle() {
	n := 0
	for n < len(b.left) && b.left[n] == 0 {
		b.asked.pop()
		b.oldest++
		n++
	}
	b.left = append(b.left[:0], b.left[n:]...)
}

func (b *Broadcast) broke(s *subscriber, slot int32, err error) {
	s.broken = true
	b.poller.remove(s.fd, slot)
	unix.Close(s.fd)
	owed := int64(0)
	for k := max(s.received/int64(b.config.Tape.Size), b.oldest); k < b.published; k++ {
		if i := k - b.oldest; i < int64(len(b.left)) {
			b.left[i]--
			owed++
		}
	}
	b.due -= owed
	b.settle()
	b.result.Missing(max(owed, 1), "a connection broke: %v", err)
}
