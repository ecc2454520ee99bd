// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait of these tests.
const patience = 10 * time.Second

var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "rivals-")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "rivals")
	if text, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		panic(string(text))
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

var rivals = []string{"nbio", "netpoll", "evio", "gev"}

// lacks is what a rival does not have; everything else it has to have.
var lacks = map[string]bool{
	"netpoll udp": true, "gev udp": true, "gev unix": true, "evio push": true, "evio broadcast": true,
}

func TestServices(t *testing.T) {
	for _, rival := range rivals {
		for _, c := range []struct {
			service, network string
			talk             func(*testing.T, string, string)
		}{
			{"echo", "tcp", echoes(1, 64, 5000, 300000)},
			{"echo", "unix", echoes(1, 64, 5000, 300000)},
			{"echo", "udp", datagrams},
			{"frames", "tcp", echoesFrames},
			{"fixed", "tcp", echoes(16, 16*50, 16*2000)},
			{"push", "tcp", echoes(1, 64, 5000, 300000)},
			{"broadcast", "tcp", broadcasts},
		} {
			t.Run(rival+"/"+c.service+"/"+c.network, func(t *testing.T) {
				t.Parallel()
				if lacks[rival+" "+c.service] || lacks[rival+" "+c.network] {
					refuses(t, rival, c.service, c.network)
					return
				}
				if rival == "nbio" && c.network == "unix" {
					// nbio 1.6.9 keeps what a socket has no room for only if that is TCP's (Conn.write), and loses it here.
					c.talk = echoes(1, 64, 5000)
				}
				c.talk(t, c.network, start(t, rival, c.service, c.network))
			})
		}
	}
}

func TestArguments(t *testing.T) {
	for _, args := range []string{"", "nbio", "libuv echo -listen tcp://127.0.0.1:1", "gev echo", "gev echo -listen tcp://127.0.0.1:1 -loops 0"} {
		var exit *exec.ExitError
		if err := exec.Command(program, strings.Fields(args)...).Run(); !errors.As(err, &exit) || exit.ExitCode() != 2 {
			t.Errorf("%q: %v, want exit 2", args, err)
		}
	}
	for _, rival := range rivals {
		refuses(t, rival, "gopher", "tcp")
	}
}

// What the push and broadcast services are made of is the same for all servers.
func TestSharedFiles(t *testing.T) {
	for _, name := range []string{"room.go", "handoff.go"} {
		here, err1 := os.ReadFile(name)
		there, err2 := os.ReadFile(filepath.Join("..", "target", name))
		if err1 != nil || err2 != nil || !bytes.Equal(here, there) {
			t.Errorf("%s is not that of bench/target (%v, %v)", name, err1, err2)
		}
	}
}

// start returns the address of a running server.
func start(t *testing.T, rival, service, network string) string {
	t.Helper()
	address := free(t, network)
	cmd := exec.Command(program, rival, service, "-listen", network+"://"+address, "-loops", "2")
	cmd.Env = append(os.Environ(), "GOMAXPROCS=2")
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if want := fmt.Sprintf("listening %s %s\n", network, address); line != want {
		t.Errorf("it says %q, %v, want %q", line, err, want)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if rest, _ := io.ReadAll(out); len(rest) > 0 {
			t.Errorf("it also says %q", rest)
		}
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	return address
}

// free returns an address that nobody listens on, and that the system gives nobody meanwhile: it gives other ports to who
// asks for any (ip(7)).
func free(t *testing.T, network string) string {
	if network == "unix" {
		return filepath.Join(t.TempDir(), "s")
	}
	for try := 0; ; try++ {
		address := fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000))
		var held io.Closer
		var err error
		if network == "udp" {
			held, err = net.ListenPacket(network, address)
		} else {
			held, err = net.Listen(network, address)
		}
		if err == nil {
			held.Close()
			return address
		}
		if try == 100 {
			t.Fatal(err)
		}
	}
}

func refuses(t *testing.T, rival, service, network string) {
	t.Helper()
	cmd := exec.Command(program, rival, service, "-listen", network+"://"+free(t, network))
	var said bytes.Buffer
	cmd.Stderr = &said
	var exit *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 3 || strings.Count(said.String(), "\n") != 1 {
		t.Errorf("%s %s over %s: %v, %q, want exit 3 and a reason", rival, service, network, err, said.String())
	}
}

func dial(t *testing.T, network, address string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout(network, address, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// random returns the same bytes at every call.
func random(n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(p)
	return p
}

// send writes in pieces: a byte, then more and more.
func send(t *testing.T, conn net.Conn, p []byte) {
	for n := 1; len(p) > 0; n *= 3 {
		n = min(n, len(p))
		if _, err := conn.Write(p[:n]); err != nil {
			t.Error(err)
			return
		}
		p = p[n:]
		time.Sleep(time.Millisecond) // a read of its own for most
	}
}

func receives(t *testing.T, conn net.Conn, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d of %d bytes, %v, right: %t", n, len(want), err, bytes.Equal(got[:n], want[:n]))
	}
}

func echoes(sizes ...int) func(*testing.T, string, string) {
	return func(t *testing.T, network, address string) {
		for range 3 {
			conn := dial(t, network, address)
			for _, size := range sizes {
				p := random(size)
				go send(t, conn, p)
				receives(t, conn, p)
			}
		}
	}
}

// framed returns frames of the sizes, one after the other.
func framed(sizes ...int) (p []byte) {
	for _, size := range sizes {
		p = binary.BigEndian.AppendUint32(p, uint32(size))
		p = append(p, random(size)...)
	}
	return p
}

func echoesFrames(t *testing.T, network, address string) {
	conn := dial(t, network, address)
	p := framed(0, 1, 60, 60, 60, 5000, 0, 70000, 300000, 16)
	go send(t, conn, p)
	receives(t, conn, p)

	conn = dial(t, network, address)
	conn.Write([]byte{0xff, 0xff, 0xff, 0xff}) // longer than any frame
	if _, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a frame of 4 GiB is waited for")
	}
}

func datagrams(t *testing.T, network, address string) {
	for range 3 {
		conn := dial(t, network, address)
		for _, size := range []int{1, 64, 1400} {
			p := random(size)
			conn.Write(p)
			got := make([]byte, 2*size)
			if n, err := conn.Read(got); err != nil || !bytes.Equal(got[:n], p) {
				t.Fatalf("%d bytes for %d, %v", n, size, err)
			}
		}
	}
}

// broadcasts has three members send at once; all get all, in one order.
func broadcasts(t *testing.T, network, address string) {
	const each, size = 20, 100
	var members []net.Conn
	hello := framed(0)
	for range 3 { // the server knows one that is answered
		m := dial(t, network, address)
		m.Write(hello)
		members = append(members, m)
		for _, m := range members {
			receives(t, m, hello)
		}
	}
	for i, m := range members {
		go func() {
			for j := range each {
				p := binary.BigEndian.AppendUint32(nil, size)
				p = append(p, byte(i), byte(j))
				m.Write(append(p, random(size-2)...))
			}
		}()
	}
	var first []byte
	for i, m := range members {
		got := make([]byte, len(members)*each*(4+size))
		if n, err := io.ReadFull(m, got); err != nil {
			t.Fatalf("member %d: %d of %d bytes, %v", i, n, len(got), err)
		}
		if i == 0 {
			first = got
		} else if !bytes.Equal(got, first) {
			t.Errorf("members %d and 0 saw different orders", i)
		}
	}
}
