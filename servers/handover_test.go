// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A chain is a server and its successors, which share standard output and error: the first is the test's own process, and
// its exit is seen when the last has ended.
type chain struct {
	*server
	last int // the process that serves
}

func startChain(t *testing.T, cmd *exec.Cmd, args ...string) *chain {
	t.Helper()
	c := &chain{server: startCommand(t, cmd, args...)}
	c.last = c.cmd.Process.Pid
	t.Cleanup(func() {
		if !c.gone() {
			_ = syscall.Kill(c.last, syscall.SIGKILL)
		}
	})
	return c
}

var handedOver = regexp.MustCompile(`msg="handed over".* successor=(\d+)`)

// replace has the last of the chain replaced by the n-th successor.
func (c *chain) replace(n int) {
	c.t.Helper()
	require.NoError(c.t, syscall.Kill(c.last, syscall.SIGHUP))
	var lines [][]string
	eventually(c.t, func() bool {
		lines = handedOver.FindAllStringSubmatch(c.stderr.String(), -1)
		return len(lines) == n
	}, "handing over for the %d. time", n)
	var err error
	c.last, err = strconv.Atoi(lines[n-1][1])
	require.NoError(c.t, err)
}

// end stops the last of the chain and expects that all ended in order.
func (c *chain) end(processes int) {
	c.t.Helper()
	require.NoError(c.t, syscall.Kill(c.last, syscall.SIGTERM))
	require.Zero(c.t, c.exit())
	require.Equal(c.t, processes, strings.Count(c.stderr.String(), "msg=stopped"), "%s", c.stderr)
	require.NotContains(c.t, c.stderr.String(), "level=ERROR")
	require.Equal(c.t, len(c.addrs), strings.Count(c.stdout.String(), "\n"), "a successor repeated what the first had told")
}

// A server is replaced ten times under a load of one request a connection. No client notices.
func TestReplacedUnderLoad(t *testing.T) {
	const replacements, clients = 10, 4
	for name, args := range map[string][]string{
		"tcp":           {"-listen", "tcp://127.0.0.1:0"},
		"tcp reuseport": {"-listen", "tcp://127.0.0.1:0", "-reuseport"},
		"unix":          {"-listen", "unix://"},
		"udp":           {"-listen", "udp://127.0.0.1:0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			network := strings.Fields(name)[0]
			if network == "unix" {
				args[1] += socketPath(t)
			}
			c := startChain(t, exec.Command(binaries.program), append([]string{"echo", "-loops", "2"}, args...)...)
			stop := make(chan struct{})
			var answered atomic.Int64
			var load sync.WaitGroup
			end := sync.OnceFunc(func() {
				close(stop)
				load.Wait()
			})
			defer end()
			for client := range clients {
				load.Go(func() {
					for i := 0; ; i++ {
						select {
						case <-stop:
							return
						default:
						}
						if err := ask(network, c.addrs[0], fmt.Sprintf("%d of client %d", i, client)); err != nil {
							t.Errorf("request %d of client %d: %v", i, client, err)
							return
						}
						answered.Add(1)
					}
				})
			}
			for n := range replacements {
				before := answered.Load()
				c.replace(n + 1)
				eventually(t, func() bool { return answered.Load() >= before+2*clients || t.Failed() }, "requests are answered")
			}
			end()
			c.end(replacements + 1)
			t.Logf("%d requests", answered.Load())
			if network == "unix" {
				require.NoFileExists(t, c.addrs[0])
			}
		})
	}
}

// ask makes a connection, or a socket for datagrams, for one request and expects the echo of it.
func ask(network, address, request string) error {
	c, err := net.DialTimeout(network, address, patience)
	if err != nil {
		return err
	}
	defer c.Close()
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // no TIME_WAIT: there are not ports enough for all tests
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte(request)); err != nil {
		return err
	}
	got := make([]byte, len(request))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != request {
		return fmt.Errorf("answered %q to %q", got, request)
	}
	return nil
}

// Who is connected when the server is replaced is served by the old one, also with its first request; then it goes.
func TestReplacedWithClients(t *testing.T) {
	t.Parallel()
	c := startChain(t, exec.Command(binaries.program), "echo")
	first := c.dial()
	c.replace(1)
	_, err := first.Write([]byte("still there?"))
	require.NoError(t, err)
	require.NoError(t, expect(first, strings.NewReader("still there?"), 12))
	require.NoError(t, first.CloseWrite())
	require.NoError(t, expectEnd(first))
	require.Equal(t, "hello", string(c.ask([]byte("hello"))))
	c.end(2)
}

// A successor that cannot serve leaves everything as it is, whatever it was that was wrong.
func TestNoSuccessor(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "servers")
	require.NoError(t, os.Link(binaries.program, path))
	for name, content := range map[string]string{ // now, for what was just written cannot always be run (ETXTBSY)
		"failing":     "#!/bin/sh\nexit 3\n",
		"none at all": "not a program",
		"hanging":     "#!/bin/sh\nexec sleep 1000\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755))
	}
	replaceWith := func(name string) {
		require.NoError(t, os.Rename(filepath.Join(dir, name), path))
	}
	socket := socketPath(t)
	c := startChain(t, exec.Command(path), "echo", "-listen", "unix://"+socket)
	for name, want := range map[string]string{"failing": "exit status 3", "none at all": "exec format error"} {
		replaceWith(name)
		require.NoError(t, syscall.Kill(c.last, syscall.SIGHUP))
		c.logs("level=ERROR", "no successor, serving on", want)
		require.Equal(t, "hello", string(c.ask([]byte("hello"))))
	}
	// Stopping does not wait for a successor that is still at it, nor leave it behind.
	replaceWith("hanging")
	require.NoError(t, syscall.Kill(c.last, syscall.SIGHUP))
	eventually(t, func() bool { return strings.Count(c.stderr.String(), "starting a successor") == 3 }, "the third successor")
	c.stop()
	require.NoFileExists(t, socket)
}

// Sockets in the environment are served at the address they have, whatever their order, or for whatever is asked.
func TestGivenSockets(t *testing.T) {
	t.Parallel()
	path := socketPath(t)
	unixSocket, err := net.Listen("unix", path)
	require.NoError(t, err)
	t.Cleanup(func() { unixSocket.Close() })
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { tcp.Close() })
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { udp.Close() })
	plain, err := os.Open(os.DevNull)
	require.NoError(t, err)
	t.Cleanup(func() { plain.Close() })
	file := func(s any) *os.File {
		f, err := s.(interface{ File() (*os.File, error) }).File()
		require.NoError(t, err)
		t.Cleanup(func() { f.Close() })
		return f
	}
	// give is the program with the files from descriptor 3 on, as systemd would run it: $$ is what it becomes.
	give := func(files ...*os.File) *exec.Cmd {
		cmd := exec.Command("sh", "-c", fmt.Sprintf(`LISTEN_FDS=%d LISTEN_PID=$$ exec "$0" "$@"`, len(files)), binaries.program)
		cmd.ExtraFiles = files
		return cmd
	}
	atTCP, atUDP, atUnix := "tcp "+tcp.Addr().String(), "udp "+udp.LocalAddr().String(), "unix "+path
	urls := func(list ...string) (args []string) {
		for _, at := range list {
			args = append(args, "-listen", strings.Replace(at, " ", "://", 1))
		}
		return args
	}
	for _, test := range []struct {
		name  string
		files []*os.File
		args  []string
		want  []string // what it listens on
	}{
		{"by address", []*os.File{file(udp), file(unixSocket), file(tcp)}, urls(atUnix, atTCP, atUDP), []string{atUnix, atTCP, atUDP}},
		{"in order", []*os.File{file(udp), file(tcp)}, urls("tcp :0", "udp :0"), []string{atTCP, atUDP}},
		{"unasked", []*os.File{file(unixSocket), file(tcp)}, nil, []string{atUnix, atTCP}},
		{"some", []*os.File{file(unixSocket)}, urls(atUnix, "tcp 127.0.0.1:0"), []string{atUnix, "tcp 127.0.0.1:"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := launch(t, give(test.files...), append([]string{"echo"}, test.args...)...)
			t.Cleanup(s.cleanup)
			eventually(t, func() bool { return strings.Count(s.stdout.String(), "\n") == len(test.want) || s.gone() }, "the server listens")
			lines := strings.Split(s.stdout.String(), "\n")
			for i, want := range test.want {
				require.Contains(t, lines[i], "listening "+want, "%s", s.stderr)
				fields := strings.Fields(lines[i])
				require.NoError(t, ask(fields[1], fields[2], "hello"))
			}
			s.stop()
			require.FileExists(t, path) // whoever made it removes it
		})
	}
	for _, test := range []struct {
		files []*os.File
		args  []string
		code  int
		want  string
	}{
		{[]*os.File{plain}, []string{"echo"}, 1, "descriptor 3 of 1 that LISTEN_FDS gives: not a socket"},
		{[]*os.File{file(udp)}, []string{"message"}, 2, "given a socket of udp " + udp.LocalAddr().String() + ": message is served over tcp, unix only"},
		{[]*os.File{file(tcp)}, append([]string{"echo"}, urls(atUDP)...), 2, "given a socket of tcp " + tcp.Addr().String() + ", for which no -listen is left"},
	} {
		got := runCommand(t, give(test.files...), test.args...)
		require.Equal(t, result{test.code, "", "servers: " + got.stderr[min(9, len(got.stderr)):]}, got)
		require.Contains(t, got.stderr, test.want)
		require.Equal(t, 1, strings.Count(got.stderr, "\n"))
	}
}
