// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Dns is a name server for a few zones, over UDP and TCP, with the messages of github.com/miekg/dns:
//
//	go run ./examples/dns
//	dig @127.0.0.1 -p 1053 www.example.test
//
// It answers what the zones know, with authority, and refuses everything else; it neither asks other servers nor
// signs. Reading order of the files: main.go (sockets), answer.go (a message in, a message out), zone.go.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
)

//go:embed example.zone
var exampleZone string

func main() {
	address := flag.String("listen", "127.0.0.1:1053", "`address` for udp and tcp; port 0 is one that is free for both")
	patience := flag.Duration("patience", 10*time.Second, "how long a tcp client may be silent, or take for one query")
	file := flag.String("zone", "", "zone `file` (RFC 1035) instead of the example's")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "dns: unexpected argument %q, want flags only\n", flag.Arg(0))
		os.Exit(2)
	}
	if err := run(*address, *file, *patience); err != nil {
		fmt.Fprintln(os.Stderr, "dns:", err)
		os.Exit(1)
	}
}

func run(address, file string, patience time.Duration) error {
	var source io.Reader = strings.NewReader(exampleZone)
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		source = f
	}
	z, err := readZones(source, file)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := reactor.New(reactor.Options{MaxConns: 1000})
	if err != nil {
		return err
	}
	if err := listen(r, z, address, patience); err != nil {
		_ = r.Close() // nothing was served
		return err
	}
	return r.Serve(ctx)
}

// portTries bounds the search for a port that is free for both networks.
const portTries = 100

// listen opens both listeners at one port, and says so. A truncated answer sends the client from one to the other.
func listen(r *reactor.Reactor, z *zones, address string, patience time.Duration) error {
	stream := reactor.Frames(tcpFrame, reactor.FrameFunc(z.frame))
	accept := func(*reactor.Conn) (reactor.Handler, error) { return stream, nil }
	options := &reactor.StreamOptions{IdleTimeout: patience, FrameTimeout: patience} // the latter for who drips
	for try := 1; ; try++ {
		tcp, err := r.Listen("tcp", address, accept, options)
		if err != nil {
			return err
		}
		udp, err := r.ListenPacket("udp", tcp.Addr().String(), reactor.PacketFunc(z.datagram), nil)
		if err == nil {
			fmt.Println("listening udp", udp.Addr())
			fmt.Println("listening tcp", tcp.Addr())
			return nil
		}
		_ = tcp.Close()
		if _, port, _ := net.SplitHostPort(address); port != "0" || !errors.Is(err, syscall.EADDRINUSE) || try == portTries {
			return err
		}
	}
}

// datagram answers in place: the query is unpacked when its memory is written to.
func (z *zones) datagram(_ *reactor.PacketConn, d *reactor.Datagram) {
	if response := z.answer(d.Payload, d.Payload[:cap(d.Payload)], true); response != nil {
		_ = d.Reply(response) // never too long; later failures the reactor counts
	}
}

// tcpFrame is a message on a stream: its length in two bytes goes before it (RFC 1035, section 4.2.2).
var tcpFrame = codec.LengthPrefix(2, 2+dns.MaxMsgSize)

var errNoQuery = errors.New("not a query")

// frame answers one of the messages of a connection. The next may lie behind it, and has to stay as it is.
func (z *zones) frame(c *reactor.Conn, message []byte) error {
	response := z.answer(message, nil, false)
	if response == nil {
		return errNoQuery
	}
	return c.Send(tcpFrame, response)
}
