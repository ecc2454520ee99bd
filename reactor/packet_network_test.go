// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build linux

package reactor_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Loopback never has no room, and takes every segment. Here a network of its own does not: sockets made in a network
// namespace stay in it, whichever thread uses them. Only root may make one.

// inNetwork calls fn with a loopback interface of its own: of an MTU, and of so many bytes a second if rate is not 0.
// Sockets that fn makes are of that network. fn runs on a goroutine of its own.
func inNetwork(t *testing.T, mtu, rate int, fn func() error) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root has networks to spare")
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err != nil {
			err = fmt.Errorf("%w: unshare: %w", errNoNetwork, err)
		}
		if err == nil {
			err = setUpLoopback(mtu, rate)
		}
		if err == nil {
			err = fn()
		}
		done <- err
	}()
	err := receive(t, done)
	if errors.Is(err, errNoNetwork) {
		t.Skip(err)
	}
	require.NoError(t, err)
}

var errNoNetwork = errors.New("no network to be had")

// setUpLoopback brings the interface up.
func setUpLoopback(mtu, rate int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint32(uint32(mtu))
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFMTU, lo); err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil || rate == 0 {
		return err
	}
	if err := limitRate(1, rate); err != nil {
		return fmt.Errorf("%w: tbf: %w", errNoNetwork, err)
	}
	return nil
}

// limitRate gives an interface a token bucket filter, tc-tbf(8), by rtnetlink(7).
func limitRate(ifIndex, rate int) error {
	attribute := func(kind uint16, data []byte) []byte {
		b := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofRtAttr+len(data)))
		b = binary.NativeEndian.AppendUint16(b, kind)
		b = append(b, data...)
		return append(b, make([]byte, -len(b)&3)...)
	}
	encode := func(v any) []byte {
		var b bytes.Buffer
		_ = binary.Write(&b, binary.NativeEndian, v)
		return b.Bytes()
	}
	type rateSpec struct { // struct tc_ratespec
		CellLog, LinkLayer uint8
		Overhead           uint16
		CellAlign          int16
		MPU                uint16
		Rate               uint32
	}
	const (
		ethernet, burst   = 1, 4096 // TC_LINKLAYER_ETHERNET
		kind, opts        = 1, 2    // TCA_KIND, TCA_OPTIONS
		parms, burstBytes = 1, 6    // TCA_TBF_PARMS, TCA_TBF_BURST
	)
	options := append(
		attribute(parms, encode(struct { // struct tc_tbf_qopt
			Rate, Peak         rateSpec
			Limit, Buffer, MTU uint32
		}{Rate: rateSpec{LinkLayer: ethernet, Rate: uint32(rate)}, Limit: 1 << 20})),
		attribute(burstBytes, encode(uint32(burst)))...)
	message := encode(struct { // struct tcmsg
		Family                        int32
		Index, Handle, Parent, Nobody int32
	}{Index: int32(ifIndex), Parent: -1}) // TC_H_ROOT
	message = append(message, attribute(kind, []byte("tbf\x00"))...)
	message = append(message, attribute(opts, options)...)
	header := encode(unix.NlMsghdr{
		Len: uint32(unix.SizeofNlMsghdr + len(message)), Type: unix.RTM_NEWQDISC, Seq: 1,
		Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK | unix.NLM_F_CREATE | unix.NLM_F_REPLACE,
	})
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, append(header, message...)); err != nil {
		return err
	}
	answer := make([]byte, 4096)
	n, err := unix.Read(fd, answer)
	if err != nil {
		return err
	}
	if errno := -int32(binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:n])); errno != 0 {
		return unix.Errno(errno)
	}
	return nil
}

// slowNetwork is a packet listener and a client where the kernel soon has no room.
func slowNetwork(t *testing.T, s *server, h reactor.PacketHandler, o reactor.PacketOptions) (lis *reactor.Listener, cl packetClient) {
	t.Helper()
	o.SendBuffer = 1 // the least that the kernel grants
	inNetwork(t, 65536, 1<<20, func() (err error) {
		if lis, err = s.ListenPacket("udp", "127.0.0.1:0", h, &o); err != nil {
			return err
		}
		conn, err := net.Dial("udp", lis.Addr().String())
		if err == nil {
			cl = packetClient{conn.(*net.UDPConn), t}
			err = errors.Join(conn.SetDeadline(time.Now().Add(patience)), cl.SetReadBuffer(1<<20))
		}
		return err
	})
	t.Cleanup(func() { _ = cl.Close() })
	return lis, cl
}

// burst answers a datagram with many, numbered, of a size, and tells what became of them.
func burst(n, size int, then chan<- error) reactor.PacketFunc {
	return func(_ *reactor.PacketConn, d *reactor.Datagram) {
		answer := make([]byte, size)
		for i := range n {
			binary.BigEndian.PutUint32(answer, uint32(i))
			if err := d.Reply(answer); err != nil {
				then <- err
				return
			}
		}
		then <- nil
	}
}

// expectNumbered reads datagrams 0 to n-1 in this order. A few may be missing: a machine's networks share the queue in
// front of their receivers (net.core.netdev_max_backlog), which may be full. What the reactor loses its counters tell.
func (cl packetClient) expectNumbered(n int) {
	cl.t.Helper()
	missing := 0
	for next := 0; next < n; {
		got := int(binary.BigEndian.Uint32([]byte(cl.receive())))
		require.GreaterOrEqual(cl.t, got, next)
		missing += got - next
		next = got + 1
	}
	require.LessOrEqual(cl.t, missing, n/10)
}

// Without a queue what the kernel has no room for is lost, told and counted.
func TestPacketNoRoomDrops(t *testing.T) {
	const many = 60
	s := start(t, reactor.Options{Loops: 1})
	errs, lost := make(chan error, 2), make(chan error, 256)
	stats := make(chan reactor.PacketStats, 16)
	h := &packetHooks{
		PacketFunc: func(s *reactor.PacketConn, d *reactor.Datagram) {
			if string(d.Payload) == "count" {
				stats <- s.Stats()
				return
			}
			burst(many, 1000, errs)(s, d)
		},
		sendError: func(_ *reactor.PacketConn, _ netip.AddrPort, err error) { lost <- err },
	}
	_, cl := slowNetwork(t, s, h, reactor.PacketOptions{})
	cl.send("go")
	require.NoError(t, receive(t, errs))
	require.ErrorIs(t, receive(t, lost), unix.EAGAIN)
	cl.send("count")
	got := receive(t, stats)
	require.EqualValues(t, many, got.Sent+got.Unsent)
	require.EqualValues(t, got.Unsent, len(lost)+1)
	for last, n := -1, got.Sent-got.Sent/10; n > 0; n-- { // see expectNumbered; which are lost is the network's choice
		number := int(binary.BigEndian.Uint32([]byte(cl.receive())))
		require.Greater(t, number, last)
		require.Less(t, number, many)
		last = number
	}
}

// With one it waits its turn, and nothing is lost, whichever way it was sent.
func TestPacketNoRoomQueues(t *testing.T) {
	const many = 150
	for _, gso := range []bool{false, true} {
		t.Run(fmt.Sprint("gso=", gso), func(t *testing.T) {
			s := start(t, reactor.Options{Loops: 1})
			errs, stats := make(chan error, 2), make(chan reactor.PacketStats, 2)
			vs := newConversations()
			vs.datagram = func(_ *conversation, s *reactor.Session, d *reactor.Datagram) {
				if string(d.Payload) == "count" {
					stats <- s.PacketConn().Stats()
					return
				}
				burst(many, 1000, errs)(s.PacketConn(), d)
			}
			_, cl := slowNetwork(t, s, reactor.Sessions(vs.begin, nil), reactor.PacketOptions{MaxQueued: 1 << 20, GSO: gso})
			cl.send("go")
			require.NoError(t, receive(t, errs))
			ref := receive(t, vs.opened)
			last := binary.BigEndian.AppendUint32(nil, many)
			_, err := ref.Write(last)
			require.NoError(t, err)
			do(t, ref, func(c *reactor.Conn) {
				last[3]++
				_, err := c.Write(last)
				require.NoError(t, err)
			})
			cl.expectNumbered(many + 2)
			cl.send("count")
			got := receive(t, stats)
			require.EqualValues(t, many+2, got.Sent)
			require.Zero(t, got.Unsent)
		})
	}
}

// At the limit the sender is told; what was taken still arrives.
func TestPacketQueueOverflows(t *testing.T) {
	s := start(t, reactor.Options{Loops: 1})
	errs := make(chan error, 2)
	taken := make(chan int, 1)
	_, cl := slowNetwork(t, s, reactor.PacketFunc(func(_ *reactor.PacketConn, d *reactor.Datagram) {
		for i := 0; ; i++ {
			if err := d.Reply(binary.BigEndian.AppendUint32(nil, uint32(i))); err != nil {
				errs <- err
				taken <- i
				return
			}
		}
	}), reactor.PacketOptions{MaxQueued: 20000})
	cl.send("go")
	require.Equal(t, reactor.ErrOverflow, receive(t, errs))
	cl.expectNumbered(receive(t, taken))
}

// Shutdown has the queue leave; at the end of its patience the rest is lost, and logged.
func TestPacketQueueAtShutdown(t *testing.T) {
	for patient, many := range map[bool]int{true: 100, false: 1000} { // a tenth of a second, and a whole one
		t.Run(fmt.Sprint("patient=", patient), func(t *testing.T) {
			s := start(t, reactor.Options{Loops: 1})
			errs := make(chan error, 1)
			_, cl := slowNetwork(t, s, burst(many, 1000, errs), reactor.PacketOptions{MaxQueued: 4 << 20})
			cl.send("go")
			require.NoError(t, receive(t, errs))
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if !patient {
				cancel()
			}
			require.NoError(t, s.Shutdown(ctx))
			if patient {
				cl.expectNumbered(many)
			} else {
				require.True(t, s.Log.has("queued datagrams lost"))
			}
		})
	}
}

// Segments that do not fit the path leave one by one.
func TestPacketSegmentsTooLarge(t *testing.T) {
	const many, size = 5, 3000
	s := start(t, reactor.Options{Loops: 1})
	errs, sent := make(chan error, 1), make(chan reactor.PacketStats, 1)
	var lis *reactor.Listener
	var cl packetClient
	inNetwork(t, 1280, 0, func() (err error) {
		if lis, err = s.ListenPacket("udp", "127.0.0.1:0", reactor.PacketFunc(func(s *reactor.PacketConn, d *reactor.Datagram) {
			if string(d.Payload) == "count" {
				sent <- s.Stats()
				return
			}
			burst(many, size, errs)(s, d)
		}), &reactor.PacketOptions{GSO: true}); err != nil {
			return err
		}
		conn, err := net.Dial("udp", lis.Addr().String())
		if err == nil {
			cl = packetClient{conn.(*net.UDPConn), t}
			err = conn.SetDeadline(time.Now().Add(patience))
		}
		return err
	})
	defer cl.Close()
	require.True(t, lis.Granted().GSO)
	cl.send("go")
	require.NoError(t, receive(t, errs))
	for i := range many {
		got := cl.receive()
		require.Len(t, got, size)
		require.Equal(t, uint32(i), binary.BigEndian.Uint32([]byte(got)))
	}
	cl.send("count")
	stats := receive(t, sent)
	require.EqualValues(t, many, stats.Sent)
	require.Zero(t, stats.Unsent)
}
