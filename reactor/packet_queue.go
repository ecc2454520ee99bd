// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"net/netip"

	"github.com/valyala/bytebufferpool"
	"golang.org/x/sys/unix"
)

// queuedOverhead is what the bookkeeping of a queued datagram counts, so that empty ones are bounded, too.
const queuedOverhead = 128

// A sendQueue holds the datagrams that the kernel had no room for, under PacketOptions.MaxQueued, in order. While
// there are any, all that is sent goes behind them. It empties when the socket has room again or, after ENOBUFS,
// which says nothing of the socket, when some milliseconds have passed.
type sendQueue struct {
	waiting []queuedDatagram
	first   int // that was not sent
	size    int
	again   int64 // when to try again after ENOBUFS, 0 if the socket tells
}

type queuedDatagram struct {
	buf    *bytebufferpool.ByteBuffer
	source netip.Addr
	to     netip.AddrPort
}

// overflows says whether MaxQueued is reached.
func (s *PacketConn) overflows() bool {
	held := 0
	if s.queue != nil {
		held = s.queue.size
	}
	if p := s.loop.packets; p.running == s {
		held += len(p.gather) + len(p.out)*queuedOverhead
	}
	return s.opts.MaxQueued > 0 && held >= s.opts.MaxQueued
}

// keep queues what the kernel refused with errno, which is 0 if it was not asked.
func (s *PacketConn) keep(out []outgoing, errno unix.Errno) {
	if s.queue == nil {
		s.queue = new(sendQueue)
	}
	q := s.queue
	for _, o := range out {
		b := getBuffer(len(o.payload))
		b.B = append(b.B, o.payload...)
		q.waiting = append(q.waiting, queuedDatagram{b, o.source, o.to})
		q.size += len(o.payload) + queuedOverhead
	}
	if errno != 0 {
		s.await(errno)
	}
}

// await has sendQueued called when there may be room.
func (s *PacketConn) await(errno unix.Errno) {
	l := s.loop
	s.queue.again = 0
	if errno == unix.ENOBUFS {
		s.queue.again = l.clock.now() + int64(retryFirst)
		l.deadlines.arm(l, s.queue.again)
	}
	s.watch(s.wanted())
}

// wanted returns what the socket is to be watched for.
func (s *PacketConn) wanted() interest {
	waits := s.queue != nil && s.queue.again == 0
	switch {
	case s.ending && waits:
		return interestWrite
	case s.ending:
		return interestNone
	case waits:
		return interestBoth
	}
	return interestRead
}

// watch changes what the socket is watched for. One that is not on its loop yet will be when it opens.
func (s *PacketConn) watch(to interest) {
	if s.watched == unregistered || s.watched == to {
		return
	}
	if err := s.loop.poller.set(s.fd, s.watched, to); err != nil {
		s.loop.r.opts.Logger.Error("reactor: not watching", "listener", s.listener.String(), "err", err)
		_ = s.loop.postLoop(s.closeFD)
		return
	}
	s.watched = to
}

// sendQueued sends from the queue until the kernel refuses, or it is the others' turn. What it notes of failures is
// told by the caller.
func (s *PacketConn) sendQueued() {
	p := s.loop.packets
	for range maxFlushes {
		if s.queue == nil {
			return
		}
		q, batch := s.queue, p.batch[:0]
		for _, d := range q.waiting[q.first:min(len(q.waiting), q.first+maxBatch)] {
			batch = append(batch, outgoing{d.buf.B, d.source, d.to})
		}
		n, errno := s.transmit(batch, false) // they do not lie together
		s.stats.Sent += uint64(n)
		if refused(errno) {
			s.stats.Unsent++
			s.fail(batch[n].to, errno, false)
			n++
		}
		clear(batch)
		s.dropQueued(n)
		if errno == unix.EAGAIN || errno == unix.ENOBUFS {
			s.await(errno)
			return
		}
	}
	if s.queue != nil && edgeTriggered {
		_ = s.loop.postLoop(s.ready) // there may be room, of which no event will tell
	}
}

// dropQueued takes the first n from the queue.
func (s *PacketConn) dropQueued(n int) {
	q := s.queue
	for i := range q.waiting[q.first : q.first+n] {
		d := &q.waiting[q.first+i]
		q.size -= len(d.buf.B) + queuedOverhead
		putBuffer(d.buf)
		*d = queuedDatagram{}
	}
	if q.first += n; q.first == len(q.waiting) {
		s.queue = nil
		s.watch(s.wanted())
		if s.ending {
			_ = s.loop.postLoop(s.closeFD)
		}
	} else if q.first > len(q.waiting)/2 { // keep the slice from growing at its end for ever
		rest := copy(q.waiting, q.waiting[q.first:])
		clear(q.waiting[rest:])
		q.waiting, q.first = q.waiting[:rest], 0
	}
}

// finish closes the socket when its queue is empty.
func (s *PacketConn) finish() {
	switch {
	case s.fd < 0:
	case s.queue == nil || s.watched == unregistered || s.loop.aborting:
		s.closeFD()
	default:
		s.ending = true
		s.watch(s.wanted())
	}
}

// loseQueued counts what is still queued when the socket closes.
func (s *PacketConn) loseQueued() {
	if s.queue == nil {
		return
	}
	lost := len(s.queue.waiting) - s.queue.first
	s.stats.Unsent += uint64(lost)
	s.loop.r.opts.Logger.Warn("reactor: queued datagrams lost", "listener", s.listener.String(), "datagrams", lost)
	s.ending = false // it is closing already
	s.dropQueued(lost)
}
