// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import "golang.org/x/sys/unix"

// Segmentation offload (udp(7)): UDP_GRO has the kernel hand over datagrams of one sender that follow each other, of
// one size but for the last, as one receive; UDP_SEGMENT takes several for one receiver as one send. They travel
// through most of the network stack together. Handlers see single datagrams in either case.

// maxCoalesced is how many receives of up to 64 KiB each make a batch with GRO: in datagrams of 1,400 bytes some
// 370, after which others have their turn.
const maxCoalesced = 8

// batchSize is how many receives make a batch.
func (s *PacketConn) batchSize() int {
	if s.grant.GRO {
		return maxCoalesced
	}
	return maxBatch
}

// next makes p.d the next datagram of the batch, which may be a segment of one receive.
func (s *PacketConn) next(p *packets) {
	d := &p.d
	if len(p.rest) == 0 {
		*d = Datagram{conn: s, To: s.local}
		if drops, told := p.describe(p.next, d); told {
			s.stats.Dropped += uint64(drops - s.drops)
			s.drops = drops
		}
		p.next++
		if d.segment == 0 || len(d.Payload) <= d.segment {
			return
		}
		p.whole, p.rest = *d, d.Payload
	}
	*d = p.whole // the handler may have changed it
	n := min(d.segment, len(p.rest))
	d.Payload, p.rest = p.rest[:n:n], p.rest[n:]
}

// coalesce returns how many of the first of out can leave as one send, and their bytes, which lie together.
func coalesce(out []outgoing) (n, size int) {
	first := &out[0]
	segment := len(first.payload)
	for n, size = 1, segment; n < len(out) && size == n*segment; n++ {
		o := &out[n]
		if len(o.payload) == 0 || len(o.payload) > segment || size+len(o.payload) > maxPayload4 ||
			o.to != first.to || o.source != first.source {
			break
		}
		size += len(o.payload) // a shorter one is the last
	}
	return n, size
}

// transmit gives the kernel what it takes of out, segmented if gso says so.
//
// On a connected socket an error may be that of an earlier datagram, which the call that told it has cleared; what
// fails in the same way twice is its own. What cannot leave segmented, because a segment does not fit the path's MTU
// say, or the device has no checksum offload, leaves one by one.
func (s *PacketConn) transmit(out []outgoing, gso bool) (int, unix.Errno) {
	p := s.loop.packets
	n, errno := p.transmit(s.fd, s.family, gso, out)
	if s.peer != nil && refused(errno) {
		var again unix.Errno
		if n, again = p.transmit(s.fd, s.family, gso, out); again != errno {
			s.cameBack(errno)
		}
		errno = again
	}
	if gso && refused(errno) {
		if together, _ := coalesce(out); together > 1 {
			s.grant.GSO = errno != unix.EIO // the device's fault is that of the next send, too
			return p.transmit(s.fd, s.family, false, out[:together])
		}
	}
	return n, errno
}

// refused says whether an error is about the datagram, not about room.
func refused(errno unix.Errno) bool {
	return errno != 0 && errno != unix.EAGAIN && errno != unix.ENOBUFS && errno != unix.EINTR
}
