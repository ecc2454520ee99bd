// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build linux && !quartet_plainsyscalls

package reactor

import (
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// packetCalls are the arguments of recvmmsg(2) and sendmmsg(2), raw calls under the conditions of sys_linux.go.
// They are kept by the loop, so that nothing is allocated for a call.
type packetCalls struct {
	received, sending messages
	used              int             // of received, how many the last call wrote to
	together          [maxBatch]uint8 // of sending, how many datagrams each is
}

// messages are up to maxBatch datagrams as the kernel sees them.
type messages struct {
	headers  [maxBatch]mmsghdr
	vectors  [maxBatch]unix.Iovec
	names    [maxBatch]rawAddr
	controls [maxBatch]control
}

// mmsghdr is struct mmsghdr, which x/sys lacks.
type mmsghdr struct {
	unix.Msghdr
	n uint32
}

func (p *packets) receive(fd, limit, count int) (int, unix.Errno) {
	m := &p.received
	if m.vectors[0].Base != unsafe.SliceData(p.in) || int(m.vectors[0].Len) != limit {
		p.prepare(limit)
	}
	for i := range p.used { // where the kernel wrote what it used
		h := &m.headers[i]
		h.Namelen = uint32(unsafe.Sizeof(m.names[i]))
		h.SetControllen(int(unsafe.Sizeof(m.controls[i])))
	}
	p.used = 0
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd),
		uintptr(unsafe.Pointer(&m.headers)), uintptr(count), ioFlags, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	p.used = int(n)
	return p.used, 0
}

// prepare sets what stays the same from call to call.
func (p *packets) prepare(limit int) {
	m := &p.received
	for i := range maxBatch {
		h, v := &m.headers[i], &m.vectors[i]
		v.Base = unsafe.SliceData(p.buffer(i))
		v.SetLen(limit)
		h.Iov = v
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&m.names[i]))
		h.Control = m.controls[i].base()
	}
	p.used = maxBatch
}

func (p *packets) describe(i int, d *Datagram) (drops uint32, told bool) {
	m := &p.received
	h := &m.headers[i]
	d.Payload = p.buffer(i)[:h.n]
	d.From = addrPort(&m.names[i])
	d.Truncated = h.Flags&unix.MSG_TRUNC != 0
	return d.control(m.controls[i].bytes()[:h.Controllen])
}

func (p *packets) transmit(fd int, f family, gso bool, out []outgoing) (int, unix.Errno) {
	m := &p.sending
	count := 0
	for ; len(out) > 0; count++ {
		o, h, v := &out[0], &m.headers[count], &m.vectors[count]
		together, size := 1, len(o.payload)
		if gso {
			together, size = coalesce(out)
		}
		v.Base = unsafe.SliceData(o.payload)
		v.SetLen(size)
		h.Iov = v
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&m.names[count]))
		h.Namelen = putAddrPort(&m.names[count], f, o.to)
		h.Control = m.controls[count].base()
		used := m.controls[count].putSource(o.source)
		if together > 1 {
			used = m.controls[count].putSegment(used, len(o.payload))
		}
		h.SetControllen(used)
		p.together[count] = uint8(together)
		out = out[together:]
	}
	n, _, errno := syscall.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd),
		uintptr(unsafe.Pointer(&m.headers)), uintptr(count), ioFlags, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	sent := 0
	for _, together := range p.together[:n] {
		sent += int(together)
	}
	return sent, 0
}

// putAddrPort writes an address as a socket of the family takes it and returns its length, 0 for none.
func putAddrPort(raw *rawAddr, f family, to netip.AddrPort) uint32 {
	if !to.IsValid() {
		return 0
	}
	port := [2]byte{byte(to.Port() >> 8), byte(to.Port())}
	if f == familyIPv4 {
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(raw))
		*sa = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: to.Addr().As4()}
		*(*[2]byte)(unsafe.Pointer(&sa.Port)) = port
		return unix.SizeofSockaddrInet4
	}
	sa := (*unix.RawSockaddrInet6)(unsafe.Pointer(raw))
	*sa = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: to.Addr().As16(), Scope_id: zoneIndex(to.Addr())}
	*(*[2]byte)(unsafe.Pointer(&sa.Port)) = port
	return unix.SizeofSockaddrInet6
}
