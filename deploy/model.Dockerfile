# A model in a file, asked over HTTP; see ../docs/models.md. From the project's root folder:
#   docker build --file deploy/model.Dockerfile --tag fishline-model .
FROM python:3.12.11-slim-bookworm
# [log] for FISHLINE_LOG
ARG EXTRAS=

COPY pyproject.toml README.md LICENSE requirements.txt /fishline/
COPY src /fishline/src
# The versions of the lock; its hashes are of the whole workflow, and pip would ask for one of this
# very folder.
RUN sed '/--hash/d; s/ \\$//' /fishline/requirements.txt > /constraints.txt \
    && pip install --no-cache-dir --constraint /constraints.txt "/fishline$EXTRAS" \
    && rm -r /fishline \
    && useradd --create-home fishline

USER fishline
EXPOSE 5001
STOPSIGNAL SIGINT
CMD ["fishline", "serve", "/model.onnx", "--host", "0.0.0.0"]
