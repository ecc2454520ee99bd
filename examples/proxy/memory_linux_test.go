// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// perPair is the memory that one pair may take.
const perPair = 1 << 20

// However slow a reader, what the proxy holds for it is bounded, and everything arrives.
func TestSlowReaders(t *testing.T) { carry(t, 4, 16<<20) }

// carry sends size bytes through each of the pairs to readers that are slow at first, and back again after the
// half-close. Two things watch the memory of the proxy, which is a process of its own. Its MaxBuffered is what the pairs
// may take: the reactor counts every byte that its connections hold, and would end them, and say so. And its
// resident memory must not have grown by more at any time, whatever took it; the garbage collector's arrears included.
func carry(t *testing.T, pairs int, size int64) {
	lis := listen(t)
	p := start(t, "-to", lis.Addr().String(), "-max-buffered", strconv.Itoa(pairs*perPair))
	clients, servers := make([]*net.TCPConn, pairs), make([]*net.TCPConn, pairs)
	for i := range pairs {
		clients[i], servers[i] = connect(t, p.address, lis)
		for _, end := range []*net.TCPConn{clients[i], servers[i]} { // what the kernel holds shall not be everything
			require.NoError(t, end.SetReadBuffer(64<<10))
			require.NoError(t, end.SetWriteBuffer(64<<10))
			require.NoError(t, end.SetDeadline(time.Now().Add(3*time.Minute)))
		}
		exchange(t, clients[i], servers[i])
	}
	before := p.resident(t)

	var all sync.WaitGroup
	for i := range pairs {
		all.Go(func() { there(t, clients[i], servers[i], size) })
	}
	all.Wait()
	peak := p.peak(t)
	t.Logf("%d bytes resident before, %d at most meanwhile", before, peak)
	require.LessOrEqual(t, peak-before, int64(pairs*perPair))

	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, p.cmd.Wait(), p.log.String())
	require.Empty(t, p.log.String())
}

// exchange sends a byte each way.
func exchange(t *testing.T, client, server net.Conn) {
	for _, from := range []net.Conn{client, server} {
		to := server
		if from == server {
			to = client
		}
		_, err := from.Write([]byte("x"))
		require.NoError(t, err)
		_, err = io.ReadFull(to, make([]byte, 1))
		require.NoError(t, err)
	}
}

// there sends size bytes from client to server, and their number and hash back after the client's half-close.
func there(t *testing.T, client, server *net.TCPConn, size int64) {
	sent := make(chan []byte, 1)
	go func() {
		hash := sha256.New()
		_, err := io.CopyN(io.MultiWriter(client, hash), rand.NewChaCha8([32]byte{}), size)
		if err != nil {
			t.Error("sending:", err)
		}
		_ = client.CloseWrite()
		sent <- hash.Sum(nil)
	}()
	var all sync.WaitGroup
	all.Go(func() {
		hash := sha256.New()
		n, err := slowly(hash, server)
		if err != nil {
			t.Error("receiving:", err)
		}
		_, _ = fmt.Fprintf(server, "%d %x\n", n, hash.Sum(nil))
		if _, err := io.CopyN(server, rand.NewChaCha8([32]byte{1}), size/4); err != nil {
			t.Error("answering:", err)
		}
		_ = server.Close()
	})
	answer := bufio.NewReader(client)
	line, err := answer.ReadString('\n')
	if err != nil {
		t.Error("the answer:", err)
		return
	}
	if want := fmt.Sprintf("%d %x\n", size, <-sent); line != want {
		t.Errorf("%q arrived, want %q", line, want)
	}
	want, got := sha256.New(), sha256.New()
	_, _ = io.CopyN(want, rand.NewChaCha8([32]byte{1}), size/4)
	n, err := slowly(got, answer)
	if err != nil || n != size/4 || !bytes.Equal(want.Sum(nil), got.Sum(nil)) {
		t.Errorf("%d bytes of the answer, not the %d that were sent: %v", n, size/4, err)
	}
	all.Wait()
}

// slowly copies 8 KiB in the first second and the rest as fast as it can.
func slowly(to io.Writer, from io.Reader) (int64, error) {
	var n int64
	for range 8 {
		m, err := io.CopyN(to, from, 1<<10)
		if n += m; err != nil {
			return n, err
		}
		time.Sleep(time.Second / 8)
	}
	m, err := io.Copy(to, from)
	return n + m, err
}

// A process is the proxy as its users run it.
type process struct {
	cmd     *exec.Cmd
	address string
	log     *bytes.Buffer
}

// start builds and starts the program.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "proxy")
	out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	p := &process{cmd: exec.Command(binary, append([]string{"-listen", "127.0.0.1:0"}, args...)...), log: new(bytes.Buffer)}
	p.cmd.Stderr = p.log
	stdout, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		if t.Failed() {
			t.Logf("%v: %v\n%s", p.cmd.Args, p.cmd.ProcessState, p.log)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	p.address = strings.TrimPrefix(strings.TrimSpace(line), "listening tcp ")
	return p
}

// resident returns how many bytes are resident, and lets the peak begin anew (proc(5), clear_refs).
func (p *process) resident(t *testing.T) int64 {
	t.Helper()
	require.NoError(t, os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0))
	return p.status(t, "VmRSS")
}

// peak returns how many were resident at most since then.
func (p *process) peak(t *testing.T) int64 { return p.status(t, "VmHWM") }

func (p *process) status(t *testing.T, field string) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(status), "\n"+field+":")
	require.True(t, found)
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	require.NoError(t, err)
	return kib << 10
}
