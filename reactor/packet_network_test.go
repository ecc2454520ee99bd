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

// slowClient is a client that sees what leaves for it. It could not tell by what it receives: a namespace's packets are
// received by the processor that sent them, out of order if those differ, and all namespaces share the queue in front of
// the receivers (net.core.netdev_max_backlog), which may be full.
type slowClient struct {
	packetClient
	tap  int // a packet(7) socket
	from uint16
}

// slowNetwork is a packet listener and a client where the kernel soon has no room.
func slowNetwork(t *testing.T, s *server, h reactor.PacketHandler, o reactor.PacketOptions) (cl slowClient) {
	t.Helper()
	o.SendBuffer = 1 // the least that the kernel grants
	inNetwork(t, 65536, 1<<20, func() error {
		lis, err := s.ListenPacket("udp", "127.0.0.1:0", h, &o)
		if err != nil {
			return err
		}
		cl.tap, err = tap()
		if err != nil {
			return err
		}
		t.Cleanup(func() { require.NoError(t, unix.Close(cl.tap)) })
		conn, err := net.Dial("udp", lis.Addr().String())
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = conn.Close() })
		cl.packetClient, cl.from = packetClient{conn.(*net.UDPConn), t}, lis.Addr().(*net.UDPAddr).AddrPort().Port()
		return nil
	})
	return cl
}

// tap returns a socket that hears of all that is sent and received.
func tap() (fd int, err error) {
	all := int(binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL)))
	if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, all); err != nil {
		return -1, err
	}
	limit := unix.NsecToTimeval(patience.Nanoseconds())
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit))
	if err != nil {
		_ = unix.Close(fd)
	}
	return fd, err
}

// sent returns the numbers of the first n datagrams, each of size bytes, that left for the client.
func (cl slowClient) sent(n, size int) (numbers []int) {
	cl.t.Helper()
	const headers = 20 + 8 // of IPv4 and UDP
	buf := make([]byte, 1<<16)
	for len(numbers) < n {
		got, from, err := unix.Recvfrom(cl.tap, buf, 0)
		if err == unix.EINTR {
			continue
		}
		require.NoError(cl.t, err, "after %d of %d", len(numbers), n)
		if from.(*unix.SockaddrLinklayer).Pkttype != unix.PACKET_OUTGOING || got < headers ||
			binary.BigEndian.Uint16(buf[headers-8:]) != cl.from {
			continue
		}
		for p := buf[headers:got]; len(p) > 0; p = p[min(size, len(p)):] { // more than one with GSO
			numbers = append(numbers, int(binary.BigEndian.Uint32(p)))
		}
	}
	return numbers
}

// expectNumbered expects datagrams 0 to n-1 to have left in this order.
func (cl slowClient) expectNumbered(n, size int) {
	cl.t.Helper()
	for i, number := range cl.sent(n, size) {
		require.Equal(cl.t, i, number)
	}
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
	cl := slowNetwork(t, s, h, reactor.PacketOptions{})
	cl.send("go")
	require.NoError(t, receive(t, errs))
	require.ErrorIs(t, receive(t, lost), unix.EAGAIN)
	cl.send("count")
	got := receive(t, stats)
	require.EqualValues(t, many, got.Sent+got.Unsent)
	require.EqualValues(t, got.Unsent, len(lost)+1)
	numbers := cl.sent(int(got.Sent), 1000)
	require.IsIncreasing(t, numbers)
	require.Less(t, numbers[len(numbers)-1], many)
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
			cl := slowNetwork(t, s, reactor.Sessions(vs.begin, nil), reactor.PacketOptions{MaxQueued: 1 << 20, GSO: gso})
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
			cl.expectNumbered(many+2, 1000)
			cl.send("count")
			got := receive(t, stats)
			require.EqualValues(t, many+2, got.Sent)
			require.Zero(t, got.Unsent)
		})
	}
}

// At the limit the sender is told; what was taken still leaves.
func TestPacketQueueOverflows(t *testing.T) {
	s := start(t, reactor.Options{Loops: 1})
	errs := make(chan error, 2)
	taken := make(chan int, 1)
	cl := slowNetwork(t, s, reactor.PacketFunc(func(_ *reactor.PacketConn, d *reactor.Datagram) {
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
	cl.expectNumbered(receive(t, taken), 4)
}

// Shutdown has the queue leave; at the end of its patience the rest is lost, and logged.
func TestPacketQueueAtShutdown(t *testing.T) {
	for patient, many := range map[bool]int{true: 100, false: 1000} { // a tenth of a second, and a whole one
		t.Run(fmt.Sprint("patient=", patient), func(t *testing.T) {
			s := start(t, reactor.Options{Loops: 1})
			errs := make(chan error, 1)
			cl := slowNetwork(t, s, burst(many, 1000, errs), reactor.PacketOptions{MaxQueued: 4 << 20})
			cl.send("go")
			require.NoError(t, receive(t, errs))
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if !patient {
				cancel()
			}
			require.NoError(t, s.Shutdown(ctx))
			if patient {
				cl.expectNumbered(many, 1000)
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
