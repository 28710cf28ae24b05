"""Starts scripts without waiting for their imports: a process that has read the large libraries forks one child for each.

A child has its own folder, environment, arguments and streams, ends as an interpreter does, and shares nothing with the next.
Nothing that registers components is read beforehand: a tool that forgets an import must still fail.
"""

import contextlib
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

READ_BEFOREHAND = (
    *('numpy', 'PIL.Image', 'cv2', 'scipy.ndimage', 'matplotlib.pyplot', 'rich.table', 'mmengine.runner'),
    *('torch._dynamo', 'torch.distributed.fsdp', 'torch.export', 'torch.utils.tensorboard'),
)


class ToolServer:
    """The client's side; a context manager."""

    def __enter__(self) -> 'ToolServer':
        environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
        self._process = subprocess.Popen(
            [sys.executable, __file__], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        # a word, for the end of the pipe never comes while a forked data worker of a test holds it too
        self._process.stdin.write('\n')
        self._process.stdin.close()
        self._process.wait()

    def run(self, arguments: list[str], cwd: Path, env: dict[str, str], folder: Path, timeout: float):
        """Run ``arguments[0]``, a script, in ``cwd``; its streams pass through two files in ``folder``.

        Returns:
            subprocess.CompletedProcess: With text of both streams.

        Raises:
            subprocess.TimeoutExpired: After ``timeout`` seconds; the script and its children are killed.
        """
        out, err = folder / 'stdout', folder / 'stderr'
        task = dict(arguments=arguments, cwd=str(cwd), env=env, out=str(out), err=str(err), timeout=timeout)
        self._process.stdin.write(json.dumps(task) + '\n')
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError('the process that starts tools has ended')
        texts = [path.read_text(encoding='utf-8', errors='replace') for path in (out, err)]
        code = json.loads(answer)
        if code is None:
            raise subprocess.TimeoutExpired(arguments, timeout, *texts)
        return subprocess.CompletedProcess([sys.executable, *arguments], code, *texts)


def _serve() -> dict | None:
    """Fork a child for each line of standard input; in a child, returns what it is to run."""
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # nothing but answers goes to the client
    for name in READ_BEFOREHAND:
        with contextlib.suppress(ImportError):
            __import__(name)
    gc.freeze()  # else each child's collections read all of the libraries again, and copy their pages
    while line := sys.stdin.readline().strip():
        task = json.loads(line)
        child = os.fork()
        if not child:
            answers.close()
            return task
        code = _wait(child, task['timeout'])
        answers.write(json.dumps(code) + '\n')
        answers.flush()
    return None


def _wait(child: int, timeout: float) -> int | None:
    """Exit code as ``subprocess`` counts it, or None where the child had to be killed."""

    def kill(*_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        late.append(child)

    late: list[int] = []
    signal.signal(signal.SIGALRM, kill)
    signal.alarm(int(timeout))
    status = os.waitpid(child, 0)[1]
    signal.alarm(0)
    return None if late else os.waitstatus_to_exitcode(status)


def _become(task: dict) -> None:
    os.setpgid(0, 0)
    for stream, path in ((1, task['out']), (2, task['err'])):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, stream)
        os.close(file)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.chdir(task['cwd'])
    os.environ.clear()
    os.environ.update(task['env'])
    script = str(Path(task['cwd'], task['arguments'][0]))
    sys.argv = task['arguments']
    sys.path[0] = str(Path(script).parent)
    sys.path[1:1] = [
        folder for folder in task['env'].get('PYTHONPATH', '').split(os.pathsep) if folder and folder not in sys.path
    ]
    runpy.run_path(script, run_name='__main__')


if __name__ == '__main__' and (task := _serve()):
    _become(task)
