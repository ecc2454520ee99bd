// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

// Ping asks a host for ICMP echoes over IPv4 and tells how long each took, on one event loop.
//
//	ping [-c count] [-i interval] [-s size] [-W wait] host
//
// It exits with 0 if any request was answered, 1 if none was, and 2 if it could not ask.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/quartet-go/quartet/reactor"
)

const (
	maxData    = 65507 // bytes of the largest ICMP message over IPv4, less its header
	maxPending = 1024  // requests whose answers are still waited for
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (code int) {
	p := &pinger{out: stdout, pending: make(map[uint16]time.Time)}
	flags := flag.NewFlagSet("ping", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&p.count, "c", 0, "stop after this many requests; 0 is when interrupted")
	flags.DurationVar(&p.interval, "i", time.Second, "time from one request to the next, at least 1ms")
	flags.DurationVar(&p.wait, "W", 2*time.Second, "time to wait for answers after the last request")
	size := flags.Int("s", 56, "bytes of data in a request")
	fail := func(format string, args ...any) int {
		_, _ = fmt.Fprintf(stderr, "ping: "+format+"\n", args...)
		return 2
	}
	flags.Usage = func() {
		_, _ = fmt.Fprintln(stderr, "Usage: ping [flags] host")
		flags.PrintDefaults()
	}
	switch err := flags.Parse(args); {
	case err == flag.ErrHelp:
		return 0
	case err != nil:
		return 2
	case flags.NArg() != 1:
		return fail("one host is needed, there are %d", flags.NArg())
	case p.count < 0 || p.interval < time.Millisecond || p.wait < 0:
		return fail("-c is %d, -i %v and -W %v, must be at least 0, 1ms and 0", p.count, p.interval, p.wait)
	case *size < 0 || *size > maxData:
		return fail("-s is %d, must be 0 to %d", *size, maxData)
	}
	for i := range *size {
		p.data = append(p.data, byte(i))
	}
	host := flags.Arg(0)
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", host)
	if err != nil {
		return fail("%v", err)
	}
	p.to = netip.AddrPortFrom(addrs[0].Unmap(), 0)

	if err := p.serve(ctx); err != nil {
		return fail("%v", err)
	}
	return p.report(host)
}

// A pinger is a run of the program. While its loop serves, what is below the line belongs to that.
type pinger struct {
	out            io.Writer
	to             netip.AddrPort
	data           []byte
	count          int
	interval, wait time.Duration
	raw            bool
	stop           context.CancelFunc

	// ------
	id             uint16
	sent, received int
	pending        map[uint16]time.Time // when the requests that are not answered were sent
	min, max, sum  time.Duration
}

// serve asks until enough was asked, or ctx is done.
func (p *pinger) serve(ctx context.Context) error {
	conn, raw, err := openICMP()
	if err != nil {
		return err
	}
	defer conn.Close()
	p.raw, p.id = raw, uint16(os.Getpid())
	r, err := reactor.New(reactor.Options{Loops: 1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	ctx, p.stop = context.WithCancel(ctx)
	defer p.stop()
	_, err = r.AdoptPacket(conn, func(s *reactor.PacketConn) (reactor.PacketHandler, error) {
		if !p.raw {
			p.id = s.LocalAddr().Port() // the kernel puts it into each request, and delivers the answers to it alone
		}
		p.printf("PING %v: %d data bytes\n", p.to.Addr(), len(p.data))
		p.ask(s)
		return p, nil
	}, nil)
	if err != nil {
		return err
	}
	return r.Serve(ctx)
}

// ask sends the next request and sees to the one after it.
func (p *pinger) ask(s *reactor.PacketConn) {
	p.sent++
	sequence := uint16(p.sent)
	delete(p.pending, sequence-maxPending) // lost
	p.pending[sequence] = time.Now()
	if err := s.Send(appendEcho(nil, p.id, sequence, p.data), netip.AddrPort{}, p.to); err != nil {
		p.printf("icmp_seq=%d: %v\n", sequence, err)
	}
	if p.sent == p.count {
		s.AfterFunc(p.wait, func(*reactor.PacketConn) { p.stop() })
	} else {
		s.AfterFunc(p.interval, p.ask)
	}
}

// Datagram is a message that came: an answer, or one of those that a raw socket gets too.
func (p *pinger) Datagram(_ *reactor.PacketConn, d *reactor.Datagram) {
	message := d.Payload
	if p.raw {
		message = withoutIPHeader(message)
	}
	id, sequence, data, ok := parseReply(message)
	asked, waiting := p.pending[sequence]
	if !ok || id != p.id || !waiting || !bytes.Equal(data, p.data) {
		return
	}
	took := time.Since(asked)
	delete(p.pending, sequence)
	if p.received == 0 || took < p.min {
		p.min = took
	}
	p.received++
	p.max = max(p.max, took)
	p.sum += took
	p.printf("%d bytes from %v: icmp_seq=%d time=%s ms\n", len(message), d.From.Addr(), sequence, ms(took))
	if p.received == p.count {
		p.stop()
	}
}

// report prints the sums and returns the exit code.
func (p *pinger) report(host string) int {
	p.printf("\n--- %s ping statistics ---\n", host)
	p.printf("%d packets transmitted, %d received, %d%% packet loss\n", p.sent, p.received, 100*(p.sent-p.received)/max(p.sent, 1))
	if p.received == 0 {
		return 1
	}
	mean := p.sum / time.Duration(p.received)
	p.printf("rtt min/avg/max = %s/%s/%s ms\n", ms(p.min), ms(mean), ms(p.max))
	return 0
}

func (p *pinger) printf(format string, args ...any) { _, _ = fmt.Fprintf(p.out, format, args...) }

func ms(d time.Duration) string { return fmt.Sprintf("%.3f", float64(d)/float64(time.Millisecond)) }
